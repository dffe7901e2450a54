"""MobileNet v1 layer files -> our keys: every element, malformed folders, what the classifier sees on NYU images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fusionzoo.errors import FusionZooError, InputError
from fusionzoo.hub import convert
from fusionzoo.models.mobilenet_v1 import MobileNetV1

SHARED = Path(__file__).resolve().parents[3] / "shared"
needs_shared = pytest.mark.skipif(
    not (SHARED / "weights").is_dir(), reason="../shared (weights, NYU Depth v2) is not here"
)

# NYU images whose labels hold a large region of the class (index of the 40 classes), and what ImageNet calls it.
# Found by sorting all 1449 images by the share of that class and looking at the top eight.
SEEN = {
    "0507": (34, "washbasin"), "0663": (34, "washbasin"), "0664": (34, "washbasin"), "0660": (34, "washbasin"),
    "1073": (23, "bookcase"), "0549": (23, "bookcase"), "1303": (6, "studio couch"), "1298": (6, "studio couch"),
    "0748": (7, "dining table"), "1355": (5, "dining table"),
    "0039": (13, "window shade"), "0040": (13, "window shade"),
    "0652": (28, "shower curtain"), "1053": (14, "desk"), "0177": (25, "entertainment center"),
}  # fmt: skip


def layer_names(width: float = 0.25) -> dict[str, tuple[int, ...]]:
    """The layer files' names and shapes, written out from the paper's table."""
    outs = [64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
    chans = [int(32 * width)] + [int(c * width) for c in outs]
    shapes: dict[str, tuple[int, ...]] = {"conv1/kernel": (3, 3, 3, chans[0])}
    norms = {"conv1_bn": chans[0]}
    for i in range(1, 14):
        shapes[f"conv_dw_{i}/depthwise_kernel"] = (3, 3, chans[i - 1], 1)
        shapes[f"conv_pw_{i}/kernel"] = (1, 1, chans[i - 1], chans[i])
        norms |= {f"conv_dw_{i}_bn": chans[i - 1], f"conv_pw_{i}_bn": chans[i]}
    for name, c in norms.items():
        shapes |= {f"{name}/{part}": (c,) for part in ("gamma", "beta", "moving_mean", "moving_variance")}
    return shapes | {"conv_preds/kernel": (1, 1, chans[-1], 1000), "conv_preds/bias": (1000,)}


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A layer folder with random values, three layers a group, one group cut into two shards."""
    rng = np.random.default_rng(0)
    layers = {n: rng.normal(size=s).astype("<f4") for n, s in layer_names().items()}
    source = tmp_path / "tfjs"
    source.mkdir()
    names, groups = list(layers), []
    for g in range(0, len(names), 3):
        data = b"".join(layers[n].tobytes() for n in names[g : g + 3])
        paths = [f"group{g}-shard1of1"] if g else ["group0-shard1of2", "group0-shard2of2"]
        for path, part in zip(paths, [data] if g else [data[:10], data[10:]], strict=True):
            (source / path).write_bytes(part)
        weights = [{"name": n, "shape": list(layers[n].shape), "dtype": "float32"} for n in names[g : g + 3]]
        groups.append({"paths": paths, "weights": weights})
    (source / "model.json").write_text(json.dumps({"modelTopology": None, "weightsManifest": groups}))
    return source, layers


def test_every_element_lands_in_its_place(folder: tuple[Path, dict[str, np.ndarray]]) -> None:
    source, layers = folder
    encoder, classifier, width = convert.mobilenet_v1_state(source)
    assert width == 0.25
    kernel = layers["conv1/kernel"]
    for h, w, i, o in [(0, 1, 2, 7), (2, 0, 1, 3)]:
        assert encoder["conv1.0.weight"][o, i, h, w] == kernel[h, w, i, o]
    kernel = layers["conv_dw_12/depthwise_kernel"]
    for h, w, c in [(0, 2, 5), (1, 0, 100)]:
        assert encoder["blocks.11.dw.0.weight"][c, 0, h, w] == kernel[h, w, c, 0]
    assert encoder["blocks.4.pw.0.weight"][9, 3, 0, 0] == layers["conv_pw_5/kernel"][0, 0, 3, 9]
    for ours, theirs in [("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean")]:
        assert np.array_equal(encoder[f"blocks.2.pw.1.{ours}"], layers[f"conv_pw_3_bn/{theirs}"])
    assert np.array_equal(encoder["blocks.2.dw.1.running_var"], layers["conv_dw_3_bn/moving_variance"])
    assert classifier["weight"][999, 7, 0, 0] == layers["conv_preds/kernel"][0, 0, 7, 999]
    # every number of the folder is somewhere in the result, once
    assert (
        sum(v.numel() for v in [*encoder.values(), *classifier.values()]) == sum(a.size for a in layers.values()) + 27
    )
    MobileNetV1(0.25).load_state_dict(encoder)


def test_run_writes_a_folder_that_reads_back(folder: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    source, _ = folder
    config = convert.run("mobilenet_v1", source, tmp_path / "out")
    assert config["preprocess"]["rgb_mean"] == [0.5] * 3 and config["encoder_args"] == {"width": 0.25}
    state, again = convert.encoder_state(tmp_path / "out")
    assert again == config
    wanted = convert.mobilenet_v1_state(source)[0]
    assert state.keys() == wanted.keys() and all(torch.equal(state[k], wanted[k]) for k in wanted)
    data = bytearray((tmp_path / "out/model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "out/model.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="sha256"):
        convert.encoder_state(tmp_path / "out")


def test_malformed_folders_get_one_line(folder: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    source, _ = folder
    good = (source / "model.json").read_text()

    def refused(words: str, replace: dict[str, str]) -> None:
        text = good
        for old, new in replace.items():
            text = text.replace(old, new)
        (source / "model.json").write_text(text)
        with pytest.raises(FusionZooError, match=words) as error:
            convert.run("mobilenet_v1", source, tmp_path / "out")
        assert "\n" not in str(error.value) and not (tmp_path / "out").exists()

    refused("not JSON", {'"weightsManifest"': '"weightsManifest"""'})
    refused("weightsManifest", {"weightsManifest": "weights"})
    refused("quantised", {"float32": "uint8"})
    refused("leave its folder", {"group0-shard1of2": "../group0"})
    refused("missing or truncated", {"group0-shard1of2": "elsewhere"})
    refused("'conv_pw_13/kernel' is missing", {"conv_pw_13/kernel": "conv_pw_13/kernels"})
    refused("malformed", {'"shape": [8]': '"shape": [null]'})
    (source / "model.json").write_text(good)
    size = (source / "group3-shard1of1").stat().st_size
    (source / "group3-shard1of1").write_bytes(np.full(size // 4, np.nan, "<f4").tobytes())
    with pytest.raises(InputError, match="NaN"):
        convert.run("mobilenet_v1", source, tmp_path / "out")
    with pytest.raises(FusionZooError, match="did you mean 'mobilenet_v1'"):
        convert.run("mobilenet_v2", source, tmp_path / "out")
    with pytest.raises(InputError, match="does not exist"):
        convert.run("mobilenet_v1", tmp_path / "nowhere", tmp_path / "out")


@needs_shared
@pytest.mark.parametrize("width", [0.25, 0.75])
def test_the_imagenet_classifier_names_what_nyu_images_show(width: float) -> None:
    """Centre square of 480, bilinear to 224, x / 127.5 - 1: top-1 is the named class on all fifteen images."""
    encoder, head, found = convert.mobilenet_v1_state(SHARED / f"weights/mobilenet_v1_{width}_224_tfjs")
    assert found == width
    model = MobileNetV1(width).eval()
    model.load_state_dict(encoder)
    labels = json.loads((SHARED / "weights/mobilenet_v1_0.75_224_tfjs/metadata.json").read_text())["labels"]
    nyu = SHARED / "data/nyuv2"
    images, wanted = [], []
    for name, (index, word) in SEEN.items():
        label = np.asarray(Image.open(nyu / f"label40/{name}.png"))
        assert (label == index).mean() > 0.02, f"{name} does not show class {index}"
        image = Image.open(nyu / f"rgb/{name}.jpg").convert("RGB").crop((80, 0, 560, 480)).resize((224, 224), 2)
        images.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
        wanted.append(word)
    with torch.no_grad():
        feature = model(torch.stack(images).float() / 127.5 - 1)[-1].mean((2, 3))
    top = (feature @ head["weight"][:, :, 0, 0].T + head["bias"]).argmax(1)
    assert [labels[i].split(",")[0] for i in top.tolist()] == wanted
