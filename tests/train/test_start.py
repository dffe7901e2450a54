"""What a run starts from: checkpoints fitted to the data or refused, data looked through before anything is trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fusionzoo.bench import BenchProtocol, bench
from fusionzoo.data import parse_spec
from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.hub import convert
from fusionzoo.hub.load import from_pretrained
from fusionzoo.models import MissingX, build_encoder, create_model
from fusionzoo.train import evaluate, finetune
from fusionzoo.train.ready import ready
from fusionzoo.train.start import new_model
from fusionzoo.train.statistics import survey
from tests.compare import distance
from tests.train.rooms import MODEL, SMALL, rooms, settings


@pytest.fixture(scope="module")
def depth_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three classes, depth of 2 to 4 metres, whose record says what it saw."""
    place = tmp_path_factory.mktemp("start")
    model = create_model(MODEL, num_classes=3, **SMALL)
    model.set_classes(["wall", "floor", "box"])
    model.preprocess = replace(model.preprocess, x_quantiles=(1.8, 2.0, 3.0, 4.0, 4.1), x_missing=(0.0, 0.1))
    model.save_pretrained(place / "depth")
    return str(place / "depth")


def frozen(model: str, data: str, **changes: Any) -> Any:
    """Settings of a run that moves no parameter: rate 0."""
    return settings(data, model=model, lr=0.0, encoder_lr=0.0, ema=0.0, **changes)


def parameters(folder: str | Path) -> dict[str, torch.Tensor]:
    return {k: v.detach() for k, v in from_pretrained(str(folder)).named_parameters()}


def test_equal_classes_keep_every_weight(depth_checkpoint: str, tmp_path: Path) -> None:
    notes: list[str] = []
    finetune(frozen(depth_checkpoint, rooms(tmp_path / "d")), tmp_path / "out", note=notes.append)
    assert len(notes) == 1 and "all weights kept" in notes[0]
    before, after = parameters(depth_checkpoint), parameters(tmp_path / "out")
    assert all(torch.equal(after[k], v) for k, v in before.items())


@pytest.mark.parametrize("names", [["wall", "floor", "box", "sky"], ["floor", "wall", "box"]], ids=["more", "others"])
def test_other_classes_get_a_new_head_and_all_else_is_kept(
    depth_checkpoint: str, tmp_path: Path, names: list[str]
) -> None:
    notes: list[str] = []
    data = rooms(tmp_path / "d", names=names)
    finetune(frozen(depth_checkpoint, data), tmp_path / "out", note=notes.append)
    assert "377 of 379 tensors kept" in notes[0] and notes[0].endswith(": head")
    model = from_pretrained(str(tmp_path / "out"))
    assert model.class_names == names
    before, after = parameters(depth_checkpoint), parameters(tmp_path / "out")
    for key, value in before.items():
        equal = value.shape == after[key].shape and torch.equal(after[key], value)
        assert equal is (key != "head.weight") or key == "head.bias", key
    if len(names) == 4:
        assert "1 of 4 classes have no labelled pixel in the training data: sky" in notes[1]


def test_a_published_model_is_fitted_too(tmp_path: Path) -> None:
    create_model("mfnet", num_classes=5, x_channels=1, preprocess={"x_kind": "depth"}).save_pretrained(
        tmp_path / "mfnet"
    )
    notes: list[str] = []
    finetune(settings(rooms(tmp_path / "d"), model=str(tmp_path / "mfnet")), tmp_path / "out", note=notes.append)
    assert from_pretrained(str(tmp_path / "out")).class_names == ["wall", "floor", "box"]
    assert "decoder.up1.conv" in notes[0]


def test_mix_transformers_of_published_models_begin_with_another_librarys_weights(tmp_path: Path) -> None:
    """Their features of an image are the other library's."""
    theirs = build_encoder("mit_b0", 3).eval()
    torch.save(theirs.state_dict(), tmp_path / "mit.pth")
    convert.run("encoder", tmp_path / "mit.pth", tmp_path / "mit", encoder="mit-b0")
    data = SimpleNamespace(num_classes=3, x_channels=1, x_kind="depth", class_names=["a", "b", "c"])
    image = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        wanted = theirs(image)[2:]
    for name, part in (("dplnet_mit_b0", "rgb_encoder"), ("stitchfusion_mit_b0", "encoder")):
        model = new_model(settings("planted", model=name, init=str(tmp_path / "mit")), data)
        feature, encoder = image, model.get_submodule(part)
        for i, want in enumerate(wanted, 1):
            with torch.no_grad():
                feature = encoder.stage(i, feature)
            assert distance(feature, want) < (1e-3 if name.startswith("stitch") else 1e-5), i  # its norms have 1e-5
    with pytest.raises(InputError, match="mfnet has other encoders: convert its own weights"):
        new_model(settings("planted", model="mfnet", init=str(tmp_path / "mit")), data)


def grey(i: int, mm: np.ndarray) -> np.ndarray:
    return (mm / 5000 * 255).astype(np.uint8)


def test_x_of_another_kind_is_refused_with_the_way_on(depth_checkpoint: str, tmp_path: Path) -> None:
    data = rooms(tmp_path / "d", depth=grey, kind="thermal")
    with pytest.raises(InputError, match=f"thermal.*start from the architecture's name.*{MODEL}"):
        finetune(settings(data, model=depth_checkpoint), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # that way works, and its checkpoint in turn takes no depth
    finetune(settings(data), tmp_path / "thermal")
    assert from_pretrained(str(tmp_path / "thermal")).preprocess.x_kind == "thermal"
    with pytest.raises(InputError, match="thermal"):
        finetune(settings(rooms(tmp_path / "e"), model=str(tmp_path / "thermal")), tmp_path / "other")


def test_depth_is_made_grey_as_check_and_predict_do(tmp_path: Path) -> None:
    create_model(
        MODEL, num_classes=3, preprocess={"x_kind": "grey", "x_scale": 1 / 255, "x_mean": (0.5,), "x_std": (0.25,)},
        **SMALL,
    ).save_pretrained(tmp_path / "grey")  # fmt: skip
    notes: list[str] = []
    finetune(settings(rooms(tmp_path / "d"), model=str(tmp_path / "grey")), tmp_path / "out", note=notes.append)
    preprocess = from_pretrained(str(tmp_path / "out")).preprocess
    assert preprocess.x_kind == "grey" and preprocess.x_mean == (0.5,)
    assert preprocess.x_quantiles[0] < 30 and preprocess.x_quantiles[-1] == pytest.approx(255, abs=1)


@pytest.mark.parametrize("strategy", ["gate", "late", "x_only", "early"])
def test_another_strategy_begins_with_the_encoders_of_a_checkpoint(
    depth_checkpoint: str, tmp_path: Path, strategy: str
) -> None:
    """With all its tensors, statistics of norms too, and the checkpoint's normalisation of both inputs."""
    given = from_pretrained(depth_checkpoint)
    given.preprocess = replace(given.preprocess, x_mean=(3.25,), x_std=(0.75,), rgb_mean=(0.4, 0.5, 0.6))
    for buffer in given.buffers():
        buffer.add_(1)
    given.save_pretrained(tmp_path / "lender")
    name, notes = MODEL.replace("concat", strategy), list[str]()
    data = rooms(tmp_path / "d", names=["wall", "floor", "box", "sky"])
    finetune(settings(data, model=name, init=str(tmp_path / "lender"), freeze="encoder", **SMALL), tmp_path / "out",
             note=notes.append)  # fmt: skip
    model = from_pretrained(str(tmp_path / "out"))
    assert model.class_names == ["wall", "floor", "box", "sky"]
    assert (model.preprocess.x_mean, model.preprocess.x_std) == ((3.25,), (0.75,))
    assert model.preprocess.x_quantiles != given.preprocess.x_quantiles  # what this run's data was
    assert model.preprocess.rgb_mean == (0.4, 0.5, 0.6)
    place = "{}_encoder" if strategy == "gate" else "{}_stream.encoder"
    for stream in {"x_only": ["x"], "early": ["fused"]}.get(strategy, ["rgb", "x"]):
        wanted = given.get_submodule("rgb_encoder" if stream == "fused" else f"{stream}_encoder").state_dict()
        ours = model.get_submodule(place.format(stream)).state_dict()
        if stream == "fused":  # colour's kernels stay, depth's are their mean
            stem = next(iter(wanted))
            wanted[stem] = torch.cat([wanted[stem], wanted[stem].mean(1, keepdim=True)], 1)
        assert wanted.keys() == ours.keys() and all(torch.equal(v, wanted[k]) for k, v in ours.items())
    recipe = json.loads((tmp_path / "out" / "record.json").read_text())["recipe"]
    assert recipe["init"].endswith("checkpoint lender") and "--init lender" in recipe["command"]


def test_the_terms_of_borrowed_encoders_go_with_them(tmp_path: Path) -> None:
    name = "concat_mobilenetv1-025_fpn.nyuv2-13"
    finetune(settings(rooms(tmp_path / "d"), init=name, val_split=""), tmp_path / "out", note=list[str]().append)
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert [d["name"] for d in record["data"]] == ["d", "nyuv2"]
    assert record["data"][1]["note"].startswith(f"seen by {name}, whose encoders this began with")
    assert record["licence_note"].startswith(f"Its encoders began as those of {name}, whose licence is other.")


def test_what_borrowed_encoders_do_not_take_is_said(tmp_path: Path) -> None:
    notes: list[str] = []
    create_model(MODEL, num_classes=3, preprocess={"x_kind": "grey", "x_mean": (0.5,), "x_std": (0.25,)},
                 **SMALL).save_pretrained(tmp_path / "grey")  # fmt: skip
    data = rooms(tmp_path / "d")
    finetune(settings(data, init=str(tmp_path / "grey")), tmp_path / "out", note=notes.append)
    assert f"x is grey, as {tmp_path / 'grey'} takes it, of the data's depth" in notes
    with pytest.raises(InputError, match="its x is grey, that of d depth"):
        bench(
            data,
            BenchProtocol("toy", test_split="val", learning_rates=(0.003,), **SMALL),
            tmp_path / "bench",
            patterns="gate",
            init=str(tmp_path / "grey"),
        )


def test_a_run_goes_on_with_the_normalisation_that_it_began_with(depth_checkpoint: str, tmp_path: Path) -> None:
    data, run = rooms(tmp_path / "d"), tmp_path / "out"
    finetune(settings(data, init=depth_checkpoint), run, note=list[str]().append)
    other = from_pretrained(depth_checkpoint)
    other.preprocess = replace(other.preprocess, x_mean=(5.0,))
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match=r"is of a run with normalisation = .*not .*'x_mean': \[5.0\]"):
        finetune(settings(data, init=str(tmp_path / "other"), epochs=2), run, resume=True, note=list[str]().append)
    finetune(settings(data, init=depth_checkpoint, epochs=2), run, resume=True, note=list[str]().append)


def test_encoders_that_cannot_be_borrowed(depth_checkpoint: str, tmp_path: Path) -> None:
    data, out = rooms(tmp_path / "d"), tmp_path / "out"
    with pytest.raises(InputError, match="resnet18; name concat_mobilenetv1-025_fpn"):
        finetune(settings(data, model="concat_resnet18_fpn", init=depth_checkpoint), out)
    with pytest.raises(InputError, match="for composed models.*mfnet is none: go on from a checkpoint of it"):
        finetune(settings(data, model="mfnet", init=depth_checkpoint), out)
    MissingX.of(from_pretrained(depth_checkpoint)).save_pretrained(tmp_path / "guess")
    with pytest.raises(InputError, match="for composed models.*missing_x is none: name another"):
        finetune(settings(data, init=str(tmp_path / "guess")), out)
    for init, said in (("runs/mine", "no such folder"), (str(tmp_path / "d"), "no checkpoint in that folder")):
        with pytest.raises(InputError, match=f"{said}.* or name a trained checkpoint .*hf-hub:org/name"):
            finetune(settings(data, init=init), out)
    with pytest.raises(InputError, match="thermal.*leave out --init"):
        finetune(settings(rooms(tmp_path / "t", depth=grey, kind="thermal"), init=depth_checkpoint), out)
    create_model(MODEL.replace("concat", "rgb_only"), num_classes=3, **SMALL).save_pretrained(tmp_path / "alone")
    with pytest.raises(InputError, match="alone has no x_encoder as concat_.*: it has rgb_encoder"):
        finetune(settings(data, init=str(tmp_path / "alone")), out)
    with pytest.raises(UnknownNameError, match="did you mean 'concat_mobilenetv1-025_fpn.planted'"):
        finetune(settings(data, init="concat_mobilenetv1-025_fpn.plantd"), out)
    assert not out.exists()


def test_init_and_options_belong_to_new_models(depth_checkpoint: str, tmp_path: Path) -> None:
    run = settings(rooms(tmp_path / "d"), model=depth_checkpoint, decoder_args={"pyramid_channels": 8})
    with pytest.raises(InputError, match="decoder_args belongs to new models"):
        finetune(run, tmp_path / "out")


def test_x_unlike_what_the_weights_saw_gets_one_note(depth_checkpoint: str, tmp_path: Path) -> None:
    notes: list[str] = []
    data = rooms(tmp_path / "d", depth=lambda i, mm: (mm * 10).astype(np.uint16))
    finetune(settings(data, model=depth_checkpoint), tmp_path / "out", note=notes.append)
    assert len(notes) == 2 and "4 of 4 training images is unlike" in notes[1] and "median" in notes[1]
    # the new checkpoint says what it saw itself
    assert from_pretrained(str(tmp_path / "out")).preprocess.x_quantiles[0] == pytest.approx(18, abs=1)


# ------------------------------------------------------------------------------------------- what the data is like


def half_missing(i: int, mm: np.ndarray) -> np.ndarray:
    """Left half 0; of the right, the upper half 2 m and the lower 4 m."""
    out = np.zeros(mm.shape, np.uint16)
    h, w = mm.shape
    out[: h // 2, w // 2 :], out[h // 2 :, w // 2 :] = 2000, 4000
    return out


def test_statistics_are_of_valid_pixels_alone(tmp_path: Path) -> None:
    """Mean 3, deviation 1, quantiles 2 2 . 4 4, half missing: in the checkpoint, whatever the augmentation did."""
    finetune(settings(rooms(tmp_path / "d", depth=half_missing), val_split=""), tmp_path / "out")
    p = from_pretrained(str(tmp_path / "out")).preprocess
    assert p.x_mean == pytest.approx((3.0,), abs=0.1) and p.x_std == pytest.approx((1.0,), abs=0.01)
    assert [p.x_quantiles[i] for i in (0, 1, 3, 4)] == pytest.approx([2, 2, 4, 4])
    assert p.x_missing == pytest.approx((0.5, 0.5), abs=0.02)
    assert p.unlike(parse_spec(f"folder:{tmp_path / 'd'}", split="train")[0]["x"]) is None


def test_statistics_equal_numpys_on_noise(tmp_path: Path) -> None:
    def noise(i: int, mm: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(i)
        depth = rng.integers(1000, 9000, mm.shape)
        return np.where(rng.random(mm.shape) < 0.1 * (i + 1), 0, depth).astype(np.uint16)

    data = parse_spec(rooms(tmp_path / "d", n=3, depth=noise), split="train")
    found = survey(data)
    images = np.stack([data[i]["x"].numpy() for i in range(3)]).astype(np.float64)
    valid = images[images > 0]
    assert found.x_mean == pytest.approx((valid.mean(),), abs=1e-4) and found.x_std == pytest.approx(
        (valid.std(),), abs=1e-4
    )
    assert found.x_quantiles == pytest.approx(np.quantile(valid, [0.01, 0.25, 0.5, 0.75, 0.99]), abs=0.01)
    shares = (images == 0).mean((1, 2, 3))
    assert found.x_missing == pytest.approx((shares.mean(), shares.max()), abs=1e-4)
    labels = torch.stack([data[i]["label"] for i in range(3)])
    assert found.pixels.tolist() == [int((labels == k).sum()) for k in range(3)]


def test_inverse_depth_is_normalised_by_the_inverse(tmp_path: Path) -> None:
    finetune(settings(rooms(tmp_path / "d", depth=half_missing, kind="inverse_depth"), val_split=""), tmp_path / "out")
    p = from_pretrained(str(tmp_path / "out")).preprocess  # 1/2 and 1/4
    assert p.x_mean == pytest.approx((0.375,), abs=0.02) and p.x_std == pytest.approx((0.125,), abs=0.005)
    assert p.x_quantiles[0] == pytest.approx(2)  # raw


def empty(*which: int) -> Any:
    return lambda i, mm: mm.astype(np.uint16) * (i not in which)


def test_images_without_depth_are_named_skipped_or_kept(tmp_path: Path) -> None:
    data = rooms(tmp_path / "d", n=5, depth=empty(0, 3))
    with pytest.raises(InputError, match=r"2 of 5 training images have no valid depth .*\(000, 003\); --empty skip"):
        finetune(settings(data), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for way, n in (("skip", 3), ("keep", 5)):
        notes: list[str] = []
        finetune(settings(data, empty=way), tmp_path / way, note=notes.append)
        assert len(notes) == 1 and "000, 003" in notes[0]
        record = json.loads((tmp_path / way / "record.json").read_text())
        assert record["data"][0]["n"] == n
        assert from_pretrained(str(tmp_path / way)).preprocess.x_missing == (0.0, 0.0)


def test_an_empty_validation_image_is_named_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1 of 2 validation images have no valid depth .*\(005\)"):
        finetune(settings(rooms(tmp_path / "d", depth=empty(5))), tmp_path / "out")


@pytest.mark.parametrize(
    ("how", "said"),
    [({"depth": lambda i, mm: np.full(mm.shape, 2000, np.uint16)}, "channel 0 of x is 2 everywhere"),
     ({"depth": empty(*range(6))}, "no valid x in any of 4 images"),
     ({"unlabelled": range(4)}, "training data .* has no labelled pixel in 4 images"),
     ({"unlabelled": range(4, 6)}, "validation data .* has no labelled pixel .*--val-split ''")],
    ids=["constant", "all missing", "no labels", "no validation labels"],
)  # fmt: skip
def test_data_that_nothing_can_be_learnt_from(tmp_path: Path, how: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        finetune(settings(rooms(tmp_path / "d", **how)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_images_of_several_sizes_train_and_validate(tmp_path: Path) -> None:
    data = rooms(tmp_path / "d", n=4, val=3, sizes=[(48, 64), (64, 48), (50, 70)])
    last = finetune(settings(data), tmp_path / "out")
    model = from_pretrained(str(tmp_path / "out"))
    val = parse_spec(data, split="val", size=(32, 48))
    together, alone = (evaluate(model, val, batch_size=b) for b in (3, 1))
    assert torch.equal(together.confusion, alone.confusion) or abs(together.miou - alone.miou) < 1e-3
    assert last["best_miou"] == pytest.approx(together.miou, abs=1e-3)
    assert together.n_pixels == sum(h * w for h, w in [(64, 48), (50, 70), (48, 64)])


def test_a_large_cache_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fusionzoo.train.ready.LARGE", 1000)
    data = parse_spec(rooms(tmp_path / "d"), split="train")
    notes: list[str] = []
    ready(data, None, settings("planted"), notes.append, None)
    assert "--no-cache" in notes[0]
    notes.clear()
    ready(data, None, settings("planted", cache=False), notes.append, None)
    assert notes == []


def test_neither_cache_nor_workers_changes_what_is_measured(tmp_path: Path) -> None:
    data = rooms(tmp_path / "d")
    runs = {
        "kept": settings(data),
        "read": settings(data, cache=False),
        "workers": settings(data, workers=1, jitter=0.0),
    }
    scores = {name: finetune(run, tmp_path / name)["miou"] for name, run in runs.items()}
    assert scores["kept"] == pytest.approx(scores["read"], abs=1e-3)
    one, two = (from_pretrained(str(tmp_path / name)).preprocess for name in ("kept", "workers"))
    assert one == two


@pytest.mark.parametrize("resume", [False, True])
def test_an_error_in_the_first_epoch_leaves_nothing_in_the_way(
    resume: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, out = settings(rooms(tmp_path / "d"), epochs=2), tmp_path / "out"

    def full(*args: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("fusionzoo.train.epoch.update_average", full)
        with pytest.raises(MemoryError):
            finetune(chosen, out)
    (out / ".state.pt.0123.tmp").write_bytes(b"cut off")
    line = finetune(settings(rooms(tmp_path / "d"), epochs=1, lr=1e-4), out, resume=resume)  # and other settings
    assert line["epoch"] == 1 and from_pretrained(str(out)).num_classes == 3
    with pytest.raises(InputError, match="is not empty"):
        finetune(chosen, out)
    with pytest.raises(InputError, match="holds no state.pt to resume from"):
        finetune(chosen, tmp_path / "new", resume=True)
