"""The main job on small checkpoints made here: what passes, what fails, what each failure says."""

from __future__ import annotations

import functools
import importlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fusionzoo import hub
from fusionzoo._check import CheckResult, check, measured, open_data, report_path
from fusionzoo.data import Planted, parse_spec
from fusionzoo.dissect import Dissection, dissect
from fusionzoo.dissect.findings import Finding
from fusionzoo.dissect.results import JUDGED_FROM
from fusionzoo.errors import FusionZooWarning, InputError, UnknownNameError
from fusionzoo.hub.expect import fill
from fusionzoo.hub.load import resolve
from fusionzoo.hub.records import bundled
from fusionzoo.hub.verification import Verification
from fusionzoo.models import create_model
from fusionzoo.train.evaluate import evaluate
from tests.train.rooms import SMALL, rooms

NAME = "concat_mobilenetv1-025_fpn"
SIZE = (32, 48)
N = 4


def planted():
    return Planted("test", n=N, size=SIZE)


def build(bias: float = 0.0):
    torch.manual_seed(0)
    model = create_model(NAME, num_classes=12).eval()
    model.set_classes(planted().class_names)
    model.input_size = SIZE
    with torch.no_grad():
        model.head.bias[1] += bias
    return model


def write(folder, metrics=(), **fields):
    hub.save(build(), folder, record_fields={"metrics": list(metrics), "data": [{"name": "planted"}], **fields})
    return folder


def run(folder, **more):
    return check(folder, limit=N, progress=False, out=None, **more)


@pytest.fixture
def quick(monkeypatch):
    """Dissections of scores alone, where nothing else matters."""
    monkeypatch.setattr("fusionzoo._check.dissect", functools.partial(dissect, metrics=["segmentation"]))


@pytest.fixture(scope="module")
def truth():
    """The mIoU of the model on the planted images, by the training room's own evaluation."""
    return evaluate(build(), planted()).miou


def stated(miou, protocol="single scale, 32x48", n=N, data="planted", split="test"):
    return {"data": data, "split": split, "protocol": protocol, "miou": miou, "n": n}


def test_all_of_it_and_report_json(tmp_path, truth):
    folder = write(tmp_path / "ck", [stated(truth)])
    out = tmp_path / "new" / "report"
    result = check(folder, limit=N, progress=False, out=out)
    assert result.verification.ok and [c["check"] for c in result.verification][-1] == "fingerprint"
    assert result.dissection.segmentation["both"].miou == pytest.approx(truth, abs=1e-9)
    assert result.dissection.model.name == f"{NAME}.local" and result.dissection.data.n == N
    assert result.dissection.data.size == list(SIZE) and result.dissection.protocol.passes == 3
    assert f"mIoU {100 * truth:.2f}, the record says {100 * truth:.2f}: as stated" in [f.text for f in result.findings]
    values = json.loads((tmp_path / "new" / "report.json").read_text())
    assert values == result.to_dict() and values["ok"] is result.ok
    assert Dissection.from_dict(values["dissection"]) == result.dissection
    assert values["findings"][0]["text"].startswith("The model")
    assert values["checkpoint"] == {"name": f"{NAME}.local", "source": f"folder {folder}"}
    assert measured(result.dissection) == stated(pytest.approx(truth, abs=1e-9)) | {
        "pixel_accuracy": result.dissection.segmentation["both"].pixel_accuracy
    }


def fails(result):
    return [f.text for f in result.findings if f.level == "fail" and not f.text.startswith("The planted truth")]


@pytest.mark.parametrize(("off", "ok"), [(0.0009, True), (-0.0009, True), (0.0011, False), (-0.0011, False)])
def test_the_record_is_right_within_a_tenth_of_a_point(quick, tmp_path, truth, off, ok):
    result = run(write(tmp_path, [stated(truth + off)]))
    assert bool(fails(result)) is not ok
    if not ok:
        assert f"the record says {100 * (truth + off):.2f}: 0.11 points apart, more than 0.1" in fails(result)[0]
        assert not result.ok and result.exit_status == 1


@pytest.mark.parametrize(
    "metric",
    [
        stated(0.9, protocol="single scale, 32x48, flipped"),
        stated(0.9, n=200),
        stated(0.9, n=None),  # of all images, and a limit was given
    ],
)
def test_other_protocols_are_not_compared(quick, tmp_path, metric):
    result = run(write(tmp_path, [metric]))
    assert not fails(result)
    assert [f.level for f in result.findings if "by another protocol" in f.text] == ["info"]


def test_other_data_is_not_compared(quick, tmp_path):
    result = run(write(tmp_path, [stated(0.9, data="nyuv2"), stated(0.9, split="val")]))
    assert not any("record" in f.text for f in result.findings)


def test_the_record_states_the_size(quick, tmp_path):
    result = run(write(tmp_path, [stated(0.9, protocol="single scale, 32x64")]))
    assert result.dissection.data.size == [32, 64] and len(fails(result)) == 1
    assert run(tmp_path, size=(40, 48)).dissection.data.size == [40, 48]


def test_a_flipped_byte_fails_and_is_not_dissected(tmp_path):
    folder = write(tmp_path / "ck")
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-100] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))
    result = check(folder, progress=False, out=tmp_path / "report")
    assert not result.ok and result.exit_status == 1 and result.dissection is None
    assert [f.level for f in result.findings] == ["fail"] and "sha256" in result.findings[0].text
    values = json.loads((tmp_path / "report.json").read_text())
    assert values["ok"] is False and values["dissection"] is None


def test_the_model_is_built_once(quick, tmp_path, monkeypatch):
    built = []
    verify = importlib.import_module("fusionzoo.hub.verification")
    monkeypatch.setattr(verify, "fill", lambda *args, **more: built.append(1) or fill(*args, **more))
    run(write(tmp_path))
    assert len(built) == 1


def test_weights_that_are_not_finite_fail(tmp_path):
    folder = write(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors["head.bias"][0] = torch.nan
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "record.json").unlink()
    result = run(folder)
    assert not result.ok and "head.bias" in result.findings[0].text


def test_no_record_is_no_failure_of_the_model(quick, tmp_path):
    folder = write(tmp_path)
    (folder / "record.json").unlink()
    result = run(folder)
    assert result.verification.ok and result.dissection is not None


def test_data_of_other_classes_is_refused_with_what_to_give(tmp_path):
    torch.manual_seed(0)
    model = create_model(NAME, num_classes=13)
    fields = {"data": [{"name": "nyuv2"}]}
    hub.save(model, tmp_path, record_fields=fields)
    with pytest.raises(InputError, match="has 13 classes and planted 12, .* trained on nyuv2: give --data for that"):
        run(tmp_path)
    twelve = create_model(NAME, num_classes=12)
    hub.save(twelve, tmp_path, record_fields=fields)
    with pytest.raises(InputError, match=r"'class 0' and 'floor'; it does not name its classes.*model.set_classes"):
        run(tmp_path)


@pytest.mark.parametrize("trained", ["planted-2", "planted-saliency", "planted-scenes"])
def test_without_data_it_is_looked_at_on_the_scenes_it_was_trained_on(trained):
    name = next(name for name in bundled() if name.endswith(f".{trained}"))
    found = resolve(name)
    data = open_data(None, found.load()[0], found.stated, limit=2)
    assert (data.name, len(data)) == (trained, 2)
    with pytest.raises(InputError, match=trained):
        open_data("planted", found.load()[0], found.stated)


def test_unknown_names(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown checkpoint"):
        run("hybird_mobilenetv1-025_fpn.planted")
    with pytest.raises(
        InputError, match="^a Linear is no name of a checkpoint; .* trace, robustness and explain take a model"
    ):
        run(torch.nn.Linear(1, 1))
    with pytest.raises(
        InputError, match="^a int is no name of a checkpoint; give a name, a folder or hf-hub:org/name$"
    ):
        run(5)
    folder = write(tmp_path)
    with pytest.raises(UnknownNameError, match="unknown data 'plantd'; did you mean 'planted'"):
        run(folder, data="plantd")
    with pytest.raises(InputError, match="does not exist"):
        run(folder, data=f"nyuv2:{tmp_path}/none")


def test_a_dataset_has_its_own_size_and_split(tmp_path):
    for more in ({"size": SIZE}, {"split": "train"}):
        with pytest.raises(
            InputError, match="^size and split are for data that are named .* give them where it is made$"
        ):
            check(write(tmp_path), Planted("val", n=5, size=SIZE), out=None, progress=False, **more)


def test_a_dataset_may_be_given(quick, tmp_path):
    folder = write(tmp_path)
    result = check(folder, Planted("val", n=5, size=SIZE), out=None, progress=False)
    assert result.dissection.data.split == "val" and result.dissection.data.n == 5
    assert (
        result.dissection.segmentation["both"]
        == dissect(build(), Planted("val", n=5, size=SIZE), metrics=["segmentation"], progress=False).segmentation[
            "both"
        ]
    )


@pytest.mark.parametrize(
    ("levels", "verified", "ok"),
    [(["info", "warn"], True, True), (["info", "fail"], True, False), (["info"], False, False), ([], True, True)],
)
def test_ok_needs_verification_and_no_failed_finding(levels, verified, ok):
    verification = Verification([{"check": "files", "ok": verified, "detail": ""}])
    result = CheckResult("n", "s", verification, None, [Finding(level, "t") for level in levels])
    assert result.ok is ok and result.exit_status == (0 if ok else 1)


def test_where_the_report_goes(tmp_path):
    assert report_path(tmp_path) == tmp_path / "report.json"
    assert report_path(tmp_path / "a.b") == tmp_path / "a.b.json"
    assert report_path(tmp_path / "a.html") == tmp_path / "a.json"
    assert report_path("run/", ".html").as_posix() == "run/report.html"


def test_three_images_and_a_subset_of_a_users_data(tmp_path):
    write(tmp_path)
    few = [planted()[i] for i in range(3)]
    result = check(tmp_path, few, None, progress=False)
    assert result.ok and result.dissection.data.n == 3 and result.dissection.segmentation["both"].miou is not None
    part = check(tmp_path, torch.utils.data.Subset(planted(), [0, 2]), None, progress=False)
    assert part.dissection.data.n == 2 and part.dissection.data.class_names == planted().class_names


@pytest.fixture
def rooms_checkpoint(tmp_path):
    """A checkpoint for three classes, and a maker of folders for it."""
    torch.manual_seed(0)
    model = create_model(NAME, num_classes=3, **SMALL)
    model.set_classes(["wall", "floor", "box"])
    hub.save(model, tmp_path / "ck")
    return tmp_path / "ck"


def test_images_without_depth_are_left_out_or_kept(quick, rooms_checkpoint, tmp_path):
    def scores(data, **more):
        found = check(rooms_checkpoint, data, None, split="val", progress=False, **more)
        warned = [f.text for f in found.findings if "no valid depth" in f.text]
        return found.dissection.segmentation["both"], found.dissection.data.n, warned

    def one(i, mm):
        return mm.astype(np.uint16) * (i != 5)

    data = rooms(tmp_path / "d", val=4, depth=one)
    with pytest.raises(InputError, match=r"005\.png: depth is zero everywhere .*--empty skip leaves .*--empty keep"):
        scores(data)
    with pytest.warns(FusionZooWarning, match=r"1 of 4 val images have no valid depth .*\(005\): left out"):
        skipped, n, said = scores(data, empty="skip")
    assert n == 3 and len(said) == 1
    toml = tmp_path / "d" / "dataset.toml"
    toml.write_text(toml.read_text().replace('"005", ', ""))
    assert scores(data)[0] == skipped
    with pytest.warns(FusionZooWarning, match="kept"):
        kept, n, _ = scores(rooms(tmp_path / "e", val=4, depth=one), empty="keep")
    model = hub.from_pretrained(rooms_checkpoint)
    full = parse_spec(f"folder:{tmp_path / 'e'}", split="val", empty_depth="keep")
    hit = total = 0
    for sample in (full[i] for i in range(4)):
        rgb = model.preprocess.rgb(sample["rgb"][None])
        x = None if sample["id"] == "005" else model.preprocess.x(sample["x"][None])
        with torch.no_grad():
            hit += int((model(rgb, x).argmax(1)[0] == sample["label"]).sum())
        total += sample["label"].numel()
    assert n == 4 and kept.pixel_accuracy == pytest.approx(hit / total, abs=2 / total)


def test_nothing_is_scored_without_labels(rooms_checkpoint, tmp_path):
    data = rooms(tmp_path / "d", unlabelled=(4, 5))
    with pytest.raises(InputError, match="none of 2 images has a labelled pixel .*--split"):
        check(rooms_checkpoint, data, None, split="val", progress=False)
    assert check(rooms_checkpoint, rooms(tmp_path / "e", unlabelled=(4,)), None, split="val", progress=False).ok


def test_too_few_images_do_not_fail_the_planted_truth(tmp_path):
    few = run(write(tmp_path))
    assert few.dissection.planted is not None and not few.dissection.planted.found  # random weights
    assert few.dissection.truth_found is None and few.ok
    said = f"The planted truth cannot be judged on {N} images: {JUDGED_FROM} are needed."
    assert [f.level for f in few.findings if f.text == said] == ["info"]
    data = Planted("test", n=JUDGED_FROM, size=SIZE)
    enough = check(tmp_path, data, None, progress=False)
    assert not enough.ok and any(f.text.startswith("The planted truth is NOT found") for f in enough.findings)
