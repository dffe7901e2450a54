"""`predict` with several modalities: in order, by name, in folders; what is left out is the model's substitute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import fusionzoo
from fusionzoo.cli import main
from fusionzoo.data.planted_multi import PlantedMulti
from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.models import predict_labels

SIZE = (48, 64)
NAMES = ("depth", "thermal", "event")
AT = {"depth": slice(0, 1), "thermal": slice(1, 2), "event": slice(2, 5)}


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    made: Any = fusionzoo.create_model("concat_mobilenetv1-025_fpn", num_classes=14, x_kind="+".join(NAMES))
    torch.nn.init.normal_(made.head.weight, std=1.0)
    for module in made.modules():  # statistics of one batch, so that each modality counts
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        made.train()(torch.randn(4, 3, *SIZE), torch.randn(4, 5, *SIZE))
    made.eval()
    made.input_size = SIZE
    return made


@pytest.fixture(scope="module")
def scene() -> dict[str, Any]:
    return PlantedMulti("test", n=1, size=SIZE)[0]


@pytest.fixture(scope="module")
def files(scene: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, x = tmp_path_factory.mktemp("scene"), scene["x"].numpy()
    arrays = {
        "rgb": scene["rgb"].permute(1, 2, 0).numpy(),
        "depth": (x[0] * 1000).round().astype(np.uint16),
        "thermal": x[1].astype(np.uint8),
        "event": x[2:].transpose(1, 2, 0).astype(np.uint8),
    }
    for name, array in arrays.items():
        (folder / name).mkdir()
        Image.fromarray(array).save(folder / name / "a.png")
    return {name: folder / name / "a.png" for name in arrays}


def expected(model: Any, scene: dict[str, Any], *gone: str) -> np.ndarray:
    """The labels from the model itself, absent modalities being zeros after normalisation."""
    x = model.preprocess.x(scene["x"][None])
    for name in gone:
        x[:, AT[name]] = 0
    with torch.inference_mode():
        logits = model(model.preprocess.rgb(scene["rgb"][None]), x)
    return predict_labels(logits, SIZE)[0].numpy()


def test_in_order_by_name_and_stacked(model: Any, scene: dict[str, Any], files: dict[str, Path]) -> None:
    wanted = expected(model, scene)
    xs = {name: files[name] for name in NAMES}
    tensors = [scene["x"][AT[name]] for name in NAMES]
    for x in (list(xs.values()), dict(reversed(xs.items())), scene["x"], tensors):
        assert (fusionzoo.predict(model, files["rgb"], x).labels == wanted).mean() > 0.99
    other = torch.cat(tensors[::-1])  # in another order, which is said
    assert (fusionzoo.predict(model, scene["rgb"], other, x_kind="event+thermal+depth").labels == wanted).mean() > 0.99
    listed = list(fusionzoo.predict(model, [files["rgb"]] * 2, [xs, tensors]))
    folders = list(fusionzoo.predict(model, files["rgb"].parent, {name: files[name].parent for name in NAMES}))
    assert all((p.labels == wanted).mean() > 0.99 for p in (*listed, *folders)) and folders[0].id == "a"


def test_what_is_left_out_is_zeros(model: Any, scene: dict[str, Any], files: dict[str, Path]) -> None:
    some = fusionzoo.predict(model, files["rgb"], {"event": files["event"]}).labels
    assert (some == expected(model, scene, "depth", "thermal")).mean() > 0.99 and (some != expected(model, scene)).any()
    without = fusionzoo.predict(model, files["rgb"], [files[n] for n in NAMES], without="thermal").labels
    assert (without == expected(model, scene, "thermal")).mean() > 0.99
    nothing = fusionzoo.predict(model, files["rgb"]).labels
    assert (nothing == expected(model, scene, *NAMES)).mean() > 0.99


def test_wrong_numbers_and_names(model: Any, files: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="a: 2 images beside rgb, but the model takes 3: depth, thermal, event; name"):
        fusionzoo.predict(model, files["rgb"], [files["depth"], files["thermal"]])
    with pytest.raises(InputError, match="1 image beside rgb, but the model takes 3"):
        fusionzoo.predict(model, files["rgb"], files["depth"])
    with pytest.raises(UnknownNameError, match="unknown modality 'termal'; did you mean 'thermal'"):
        fusionzoo.predict(model, files["rgb"], {"termal": files["thermal"]})
    with pytest.raises(InputError, match="without is 'lidar'; give 'rgb' or 'x' or 'depth'"):
        fusionzoo.predict(model, files["rgb"], without="lidar")
    with pytest.raises(InputError, match="explanations are for two modalities, and the model takes rgb, depth"):
        fusionzoo.explain(model, files["rgb"], [files[n] for n in NAMES])


def test_command_line(model: Any, scene: dict[str, Any], files: dict[str, Path], tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "m", card=False)
    labels = tmp_path / "labels.png"

    def call(*args: str) -> Any:
        more = ("--model", str(tmp_path / "m"), "-o", str(tmp_path / "o.png"), "--labels", str(labels), "--json")
        return CliRunner().invoke(main, ["predict", *args, *more])

    xs = [str(files[name]) for name in NAMES]
    done = call(str(files["rgb"]), *xs)
    assert done.exit_code == 0 and json.loads(done.stdout)["id"] == "a", done.stderr
    assert (np.asarray(Image.open(labels)) == expected(model, scene)).mean() > 0.99
    done = call(str(files["rgb"]), "--x", f"event={xs[2]}", "--x", f"depth={xs[0]}")
    assert done.exit_code == 0 and "without thermal: the model's substitute for it stands in" in done.stderr
    assert (np.asarray(Image.open(labels)) == expected(model, scene, "thermal")).mean() > 0.99
    for args, said in (
        (xs[:2], "2 images beside rgb, but the model takes 3: depth, thermal, event"),
        (("--x", f"evnt={xs[2]}"), "unknown modality 'evnt'; did you mean 'event'"),
        ((xs[0], "--x", f"event={xs[2]}"), "give X in the model's order, or each by its name with --x; not both"),
        (("--x", f"event={xs[2]}", "--x", f"event={xs[2]}"), "--x names a modality twice"),
    ):
        done = call(str(files["rgb"]), *args)
        assert done.exit_code == 2 and said in done.stderr and len(done.stderr.strip().splitlines()) <= 3, done.stderr
