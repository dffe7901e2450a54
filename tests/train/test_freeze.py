"""Frozen parts, layer-wise rates and the two optimisers: on the weights after a run, on the groups of every model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fusionzoo.data import parse_spec
from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.hub.load import from_pretrained
from fusionzoo.models import create_model, list_fusions
from fusionzoo.models.parts import encoder_layers, encoder_parts
from fusionzoo.registry import architectures
from fusionzoo.train import Settings, finetune
from fusionzoo.train.freeze import freeze, idle_encoders, train_mode
from fusionzoo.train.optim import optimiser_of, parameter_groups
from fusionzoo.train.ready import check_settings
from tests.train.rooms import MODEL, SMALL, rooms, settings


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint of two classes, one of which the rooms have."""
    place = tmp_path_factory.mktemp("freeze") / "given"
    model = create_model(MODEL, num_classes=2, **SMALL)
    model.set_classes(["sky", "Floor"])
    model.save_pretrained(place)
    return str(place)


@pytest.mark.parametrize(
    ("what", "moves"),
    [("encoder", lambda key: "encoder" not in key),
     ("all-but-head", lambda key: key.startswith("head")),
     ("x_encoder, decoder*", lambda key: not key.startswith(("x_encoder", "decoder"))),
     ("*.blocks.3", lambda key: ".blocks.3." not in key)],
)  # fmt: skip
def test_what_is_frozen_keeps_weights_and_statistics(tmp_path: Path, given: str, what: str, moves: Any) -> None:
    notes: list[str] = []
    # crops whose last map is larger than one pixel: a group norm of one pixel gives nothing a gradient
    data = rooms(tmp_path / "d", sizes=((96, 128),))
    run = settings(
        data, model=given, freeze=what, ema=0.0, lr=0.01, epochs=2, val_split="", size=(64, 64), base=(64, 96)
    )
    finetune(run, tmp_path / "out", note=notes.append)
    before, after = (from_pretrained(folder).state_dict() for folder in (given, str(tmp_path / "out")))
    moved = {key for key in before if before[key].shape != after[key].shape or not torch.equal(before[key], after[key])}
    allowed = {key for key in before if moves(key)}
    assert moved <= allowed and len(moved) > 0.9 * len(allowed)
    assert any(note.startswith(f"frozen: {what}") for note in notes)


def test_frozen_norms_alone_leave_training_mode() -> None:
    model = create_model("sum_resnet18_fpn")
    freeze(model, "rgb_encoder")
    train_mode(model)
    assert not any(m.training for m in model.get_submodule("rgb_encoder").modules())
    norms = [m for m in model.get_submodule("x_encoder").modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(m.training for m in norms) and model.training and model.get_submodule("decoder").training


def test_prompts_alone_learn_and_a_frozen_random_encoder_is_remarked(tmp_path: Path) -> None:
    name, notes = "prompt_mobilenetv1-025_fpn", list[str]()
    run = settings(rooms(tmp_path / "d"), model=name, ema=0.0, lr=0.01, val_split="", freeze="encoder", **SMALL)
    finetune(run, tmp_path / "out", note=notes.append)
    assert any("rgb_encoder cannot learn and has random weights: --init imagenet" in note for note in notes)
    torch.manual_seed(0)
    before = create_model(name, num_classes=3, **SMALL).state_dict()
    after = from_pretrained(str(tmp_path / "out")).state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved and not any(key.startswith("rgb_encoder") for key in moved)
    assert {"stage2.fusion.expand.weight", "stage2.embed.conv.weight"} <= moved
    with torch.device("meta"):
        assert idle_encoders(create_model("dplnet_mit_b0")) == ["rgb_encoder"]


def test_refusals(given: str, tmp_path: Path) -> None:
    model = create_model(MODEL)
    with pytest.raises(InputError, match="rgb_encodr.*rgb_encoder"):
        freeze(model, "rgb_encodr")
    with pytest.raises(InputError, match="nothing to train"):
        freeze(model, "*")
    with pytest.raises(InputError, match="layer_decay"):
        Settings(MODEL, "planted", layer_decay=0.0)
    with pytest.raises(InputError, match="keep_head is for checkpoints"):
        finetune(settings(rooms(tmp_path / "d"), keep_head=True), tmp_path / "out")


def test_rows_of_equal_names_are_kept_on_request(given: str, tmp_path: Path) -> None:
    """Of sky and Floor, the second is the rooms' floor, class 1 of three."""
    notes: list[str] = []
    run = settings(rooms(tmp_path / "d"), model=given, keep_head=True, lr=0.0, ema=0.0, val_split="")
    finetune(run, tmp_path / "out", note=notes.append)
    old, new = (from_pretrained(folder).get_submodule("head").weight for folder in (given, str(tmp_path / "out")))
    assert torch.equal(new[1], old[1]) and not torch.equal(new[0], old[0])
    assert "1 classes of equal names kept theirs" in notes[0]
    with pytest.raises(InputError, match="without --keep-head"):
        run = settings(rooms(tmp_path / "e", names=["a", "b", "c"]), model=given, keep_head=True)
        finetune(run, tmp_path / "other")


# ------------------------------------------------------------------------------------------------------------- groups


def everything() -> list[str]:
    composed = [f"{fusion}_mobilenetv1-025_fpn" for fusion in list_fusions()]
    return [*architectures, *composed, "concat_resnet18_unet", "cmx_mit-b0_segformer"]


@pytest.mark.parametrize("name", everything())
def test_every_parameter_of_every_model_is_in_one_group(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name)
    layers = [layer for sequence in encoder_layers(model) for layer in sequence]
    held = [id(p) for layer in layers for p in layer]
    of_encoders = {id(p) for part in encoder_parts(model).values() for p in part.parameters()}
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    assert len(held) == len(set(held)) and set(held) == of_encoders and layers
    assert all(any(p.ndim > 1 for p in layer) for layer in layers)  # no layer of norms alone
    assert not trainable <= of_encoders  # a decoder or head is outside
    parts, sequences = encoder_parts(model).values(), encoder_layers(model)
    groups = parameter_groups(model, parts, lr=1.0, encoder_lr=0.5, layers=sequences, decay=0.5)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert len(grouped) == len(trainable) and set(grouped) == trainable
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    for sequence in sequences:
        found = [{rates[id(p)] for p in layer if id(p) in rates} for layer in sequence]
        wanted = [{0.5 ** (len(sequence) - i)} for i in range(len(sequence))]
        assert [f or w for f, w in zip(found, wanted, strict=True)] == wanted  # a fixed table of positions has no rate
        assert any(found) or not any(p.requires_grad for layer in sequence for p in layer)


def test_layers_are_met_from_the_image_on() -> None:
    """The blocks of a ResNet 18 and of MiT b0 by hand; MiT defines all patch embeddings before its first block."""
    with torch.device("meta"):
        models = create_model("sum_resnet18_fpn"), create_model("sum_mit-b0_fpn")
    names = [{id(p): n for n, p in model.named_parameters()} for model in models]
    resnet = [["conv1", "bn1"]] + [[f"layer{i}.{j}"] for i in range(1, 5) for j in range(2)]
    mit: list[list[str]] = []
    for i in range(1, 5):
        mit += [[f"patch_embed{i}"], [f"block{i}.0"], [f"block{i}.1", f"norm{i}"]]
    for model, of, wanted in zip(models, names, (resnet, mit), strict=True):
        for encoder, layers in zip(("rgb_encoder", "x_encoder"), encoder_layers(model), strict=True):
            assert len(layers) == len(wanted)
            for layer, parts in zip(layers, wanted, strict=True):
                found = {of[id(p)] for p in layer}
                assert found == {n for n in of.values() if n.startswith(tuple(f"{encoder}.{p}." for p in parts))}


@pytest.mark.parametrize(
    ("encoder", "blocks", "alone"),
    [
        ("mobilenetv1-025", 13, 1),  # the stem
        ("mobilenet-v2", 17, 2),  # the stem, the last convolution
        ("efficientnet-b0", 16, 2),
        ("xception", 12, 4),  # two convolutions before, two after
        ("dpn68", 3 + 4 + 12 + 3, 1),
        ("tu-regnetx_002", 1 + 1 + 4 + 7, 1),
        ("tu-regnety_002", 1 + 1 + 4 + 7, 1),
        ("mobileone_s0", 2 * (2 + 8 + 10 + 1), 1),  # of its blocks, depthwise and pointwise alike
        ("tu-convnext_atto", 2 + 2 + 6 + 2, 1 + 3),  # and what halves the size between stages
        ("tu-densenet121", 6 + 12 + 24 + 16, 1 + 3),
        ("tu-dpn68", 3 + 4 + 12 + 3, 1),
        ("inceptionv4", 3 + 4 + 1 + 7 + 1 + 3, 3),  # the stem's three and two reductions among the blocks
        ("inceptionresnetv2", 1 + 10 + 1 + 20 + 1 + 9 + 1, 5 + 1),
    ],
)
def test_a_layer_is_a_block_where_the_encoder_names_its_blocks_one_by_one(
    encoder: str, blocks: int, alone: int
) -> None:
    """Their papers' depths, and lone convolutions."""
    with torch.device("meta"):
        model = create_model("sum_resnet18_fpn", encoder=encoder)
    assert [len(layers) for layers in encoder_layers(model)] == [blocks + alone] * 2


@pytest.mark.parametrize(
    "option", [{"temperature": 4.0}, {"distill": {"logits": 1.0}}, {"balance_by": "log"}], ids=lambda o: next(iter(o))
)
def test_an_option_that_does_nothing_is_refused(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(InputError, match=f"^{name} .* does nothing without (teacher|balance); give --"):
        Settings(MODEL, "planted", **option)


def test_a_cache_that_is_to_be_none_is_refused() -> None:
    with pytest.raises(InputError, match="^cache_dir .kept. is for a cache, and there is to be none"):
        Settings(MODEL, "planted", cache=False, cache_dir="kept")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"freeze": "encoder", "encoder_lr": 0.1}, "encoder_lr does nothing here: all encoders of .* are frozen"),
        ({"freeze": "*encoder", "layer_decay": 0.5}, "layer_decay does nothing here: all encoders of .* are frozen"),
        ({"warmup": 5}, r"warmup \(5 steps\) is longer than the run \(4 steps\)"),
        ({"auxiliary": {"rool": 1.0}}, "unknown auxiliary loss of .* 'rool'; did you mean 'rule'"),
    ],
)
def test_what_can_do_nothing_is_refused_before_the_data_is_gone_through(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    looked: list[str] = []
    run = settings(rooms(tmp_path / "d", n=4), batch_size=2, epochs=2, **options)
    with pytest.raises((InputError, UnknownNameError), match=f"^{said}"):
        finetune(run, tmp_path / "out", note=lambda text: None, look=lambda role, done, n: looked.append(role))
    assert not looked


def test_a_warm_up_of_the_whole_run_and_a_rate_for_one_frozen_encoder_of_two(tmp_path: Path) -> None:
    model = create_model(MODEL, num_classes=2)
    run = settings("planted", batch_size=2, epochs=2, warmup=4, freeze="rgb_encoder", encoder_lr=0.1, layer_decay=0.5)
    freeze(model, run.freeze)
    try:
        refused = check_settings(run, model, 4, 1)
    except InputError as error:
        refused = error
    assert refused is None


def test_layer_decay_of_an_encoder_of_one_layer_is_refused() -> None:
    """timm takes this one's features from inside modules, by hooks, so that no blocks are known."""
    with torch.device("meta"):
        model = create_model("sum_resnet18_fpn", fusion="late", encoder="tu-legacy_xception")
    with pytest.raises(InputError, match="^layer_decay does nothing here: the encoders of .* are of one layer each"):
        check_settings(settings("planted", layer_decay=0.5), model, 16, 1)


def test_a_size_other_than_the_checkpoints_is_said(tmp_path: Path) -> None:
    data = rooms(tmp_path / "d")
    model = create_model(MODEL, num_classes=len(parse_spec(data, split="train").class_names))
    model.input_size = (96, 128)
    model.save_pretrained(tmp_path / "given")
    for base, said in (((96, 128), []), ((32, 32), ["whole images of 96x128, this run is for 32x32"])):
        notes: list[str] = []
        run = settings(data, model=str(tmp_path / "given"), base=base, epochs=1)
        finetune(run, tmp_path / f"out{base[0]}", note=notes.append)
        found = [note for note in notes if "was trained for whole images" in note]
        assert len(found) == len(said) and all(text in note for text, note in zip(said, found, strict=True))


def test_sgd_moves_by_its_rate_and_adamw_by_its_own(tmp_path: Path) -> None:
    """The first step: Nesterov's is rate times (1 + momentum) times gradient, Adam's the rate whatever the gradient."""
    steps = {}
    for name in ("sgd", "adamw"):
        layer = nn.Linear(1, 1, bias=False)
        nn.init.ones_(layer.weight)
        optimiser = optimiser_of(layer, Settings(MODEL, "planted", optimizer=name, lr=0.1, weight_decay=0.0))  # type: ignore[arg-type]
        layer.weight.grad = torch.tensor([[0.5]])
        optimiser.step()
        steps[name] = 1 - float(layer.weight.detach())
    assert steps["sgd"] == pytest.approx(0.1 * 1.9 * 0.5) and steps["adamw"] == pytest.approx(0.1, rel=1e-4)
    finetune(settings(rooms(tmp_path / "d"), optimizer="sgd", layer_decay=0.8), tmp_path / "out")
    assert from_pretrained(str(tmp_path / "out")).num_classes == 3
