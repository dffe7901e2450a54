"""Exported models give what the model gives, at every size and batch, and run without this package."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fusionzoo
from fusionzoo.data import Planted
from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.export import formats
from fusionzoo.export.compare import Comparison, compare, loss
from fusionzoo.export.graph import Graph, Shapes, trace
from fusionzoo.models.two_stream import TwoStream
from tests.export.tiny import Looks, OneSize, Tiny, Whole, tiny

SHAPES = [(1, 5, 40), (2, 33, 21), (3, 16, 12)]


def raw(batch: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 rgb and depth in metres with every kind of hole."""
    rng = np.random.default_rng(height)
    x = rng.uniform(0.5, 8, (batch, 1, height, width)).astype(np.float32)
    x[:, :, 0, :3] = (0.0, np.nan, np.inf)
    return rng.integers(0, 256, (batch, 3, height, width), dtype=np.uint8), x


def by_hand(model: Tiny, rgb: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The model's logits of raw images, normalised in NumPy."""
    p = model.preprocess
    mean, std = (np.float32(v).reshape(3, 1, 1) for v in (p.rgb_mean, p.rgb_std))
    holes = ~((x > 0) & np.isfinite(x))
    normal = np.where(holes, 0, (np.where(holes, 1, x) - np.float32(p.x_mean[0])) / np.float32(p.x_std[0]))
    with torch.no_grad():
        pair = torch.from_numpy((np.float32(rgb) / 255 - mean) / std), torch.from_numpy(normal.astype(np.float32))
        return model(*pair).numpy()


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tiny, Path, Any]:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    model, path = tiny(), tmp_path_factory.mktemp("export") / "model.onnx"
    model.set_classes(["floor", "wall", "chair"])
    model.input_size = (24, 32)
    return model, path, fusionzoo.export(model, path, probes="fus*")


def test_onnx_equals_the_model_at_any_size_and_batch(onnx_file: tuple[Tiny, Path, Any]) -> None:
    import onnxruntime

    model, path, done = onnx_file
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["rgb", "x"]
    assert [o.name for o in session.get_outputs()] == ["logits", "probe.fused"] == list(done.outputs)
    assert session.get_inputs()[1].shape == ["batch", 1, "height", "width"]
    for shape in SHAPES:
        rgb, x = raw(*shape)
        logits, fused = session.run(None, {"rgb": rgb, "x": x})
        np.testing.assert_allclose(logits, by_hand(model, rgb, x), atol=1e-5)
        with fusionzoo.probe(model, "fused") as tape:
            by_hand(model, rgb, x)
        np.testing.assert_allclose(fused, tape["fused"].numpy(), atol=1e-5)
    assert len(done.comparison.shapes) == 3 and done.comparison.largest < 1e-5 < done.comparison.logits
    assert done.comparison.same_class == 1 and set(done.comparison.probes) == {"fused"}


BARE = """
import json, sys
class Refuse:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("fusionzoo", "torch", "onnx", "onnxscript", "torchvision"):
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Refuse())
sys.path += json.loads(sys.argv[1])
import numpy as np, onnxruntime
given = np.load(sys.argv[3])
session = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
facts = session.get_modelmeta().custom_metadata_map
found = session.run(["logits"], {"rgb": given["rgb"], "x": given["x"]})[0]
np.testing.assert_allclose(found, given["logits"], atol=1e-5)
print(json.loads(facts["class_names"])[int(found[0, :, 2, 2].argmax())])
"""


def run_bare(interpreter: list[str], paths: list[str], onnx_file: tuple[Tiny, Path, Any], folder: Path) -> None:
    model, path, _ = onnx_file
    rgb, x = raw(2, 19, 30)
    logits = by_hand(model, rgb, x)
    np.savez(folder / "given.npz", rgb=rgb, x=x, logits=logits)
    command = [*interpreter, "-c", BARE, json.dumps(paths), str(path), str(folder / "given.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == model.class_names[int(logits[0, :, 2, 2].argmax())]


def test_onnx_runs_with_onnxruntime_and_numpy_alone(onnx_file: tuple[Tiny, Path, Any], tmp_path: Path) -> None:
    paths = [p for p in sys.path if p.endswith("site-packages")]
    run_bare([sys.executable, "-I", "-S"], paths, onnx_file, tmp_path)


@pytest.mark.slow
def test_onnx_runs_in_a_bare_environment(onnx_file: tuple[Tiny, Path, Any], tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "bare"], check=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    install = [python, "-m", "pip", "install", "-q", "onnxruntime", "numpy"]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no package index: {done.stderr.strip().splitlines()[-1]}")
    run_bare([python, "-I"], [], onnx_file, tmp_path)


def test_the_facts_stand_beside_the_file_and_in_it(onnx_file: tuple[Tiny, Path, Any]) -> None:
    import onnx

    model, path, done = onnx_file
    beside = json.loads(Path(f"{path}.json").read_text())
    assert beside == json.loads(json.dumps(done.to_dict()))
    assert beside["size_bytes"] == path.stat().st_size and beside["opset"] == 20
    assert beside["class_names"] == ["floor", "wall", "chair"] and beside["preprocess"]["x_kind"] == "depth"
    assert beside["comparison"]["largest"] == done.comparison.largest and beside["input_size"] == [24, 32]
    proto = onnx.load(path)
    inside = {p.key: json.loads(p.value) for p in proto.metadata_props}
    assert inside == {k: v for k, v in beside.items() if k not in ("path", "size_bytes")}
    assert [(o.domain, o.version) for o in proto.opset_import if o.domain == ""] == [("", 20)]
    assert str(Path(fusionzoo.__file__).parent).encode() not in path.read_bytes(), "a place on this machine"


def test_pt2_of_normalised_inputs(tmp_path: Path) -> None:
    model = tiny()
    done = fusionzoo.export(model, tmp_path / "m.pt2", preprocess="beside", probes=["fused"])
    facts = {"fusionzoo.json": ""}
    program = torch.export.load(tmp_path / "m.pt2", extra_files=facts).module()
    rgb, x = torch.randn(2, 3, 9, 14), torch.randn(2, 1, 9, 14)
    logits, fused = program(rgb, x)
    torch.testing.assert_close(logits, model(rgb, x), rtol=1e-4, atol=1e-5)
    assert fused.shape == (2, 8, 6, 8)  # of 12x16: padded to multiples of 4
    assert json.loads(facts["fusionzoo.json"])["preprocess"] == done.preprocess
    assert done.opset is None and done.shapes.free and done.shapes.batch is None


def test_one_class_of_a_whole_image_at_any_size(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model, path = tiny(Whole), tmp_path / "model.onnx"
    done = fusionzoo.export(model, path)
    assert "(batch, 3, 1, 1)" in done.outputs["logits"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for shape in SHAPES:
        rgb, x = raw(*shape)
        (found,) = session.run(["logits"], {"rgb": rgb, "x": x})
        assert found.shape == (shape[0], 3, 1, 1)
        np.testing.assert_allclose(found, by_hand(model, rgb, x), rtol=1e-4, atol=1e-4)


def test_a_joint_model_says_the_scene_type_beside_the_pixels(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model, path = TwoStream("sum", "mobilenetv1-025", "fpn", num_classes=3, num_scenes=4).eval(), tmp_path / "m.onnx"
    model.set_scenes(["bath", "bed", "hall", "shop"])
    done = fusionzoo.export(model, path)
    assert list(done.outputs) == ["logits", "scene_logits"] and "(batch, 4, 1, 1)" in done.outputs["scene_logits"]
    assert json.loads(Path(f"{path}.json").read_text())["scene_names"] == ["bath", "bed", "hall", "shop"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for shape in ((2, 40, 50), (1, 65, 33)):
        rgb, x = raw(*shape)
        pixels, scenes = session.run(None, {"rgb": rgb, "x": x})
        with torch.no_grad():
            wanted = model.both(*model.preprocess(torch.from_numpy(rgb), torch.from_numpy(x)))
        np.testing.assert_allclose(pixels, wanted[0].numpy(), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(scenes, wanted[1].numpy(), rtol=1e-4, atol=1e-4)
    assert done.comparison.scenes is not None and done.comparison.scenes[0] < 1e-4 < done.comparison.scenes[1]
    assert done.comparison.probes == {}


def test_other_scene_types_than_the_models_are_refused() -> None:
    torch.manual_seed(0)
    model = TwoStream("sum", "mobilenetv1-025", "fpn", num_classes=3, num_scenes=4).eval()
    graph = Graph(model, inside=True)
    cases = [(2, 64, 64)]
    assert compare(model, graph, graph, cases, "float32").scenes is not None
    with pytest.raises(CheckFailed, match="exported model's scene_logits differ by up to"):
        compare(model, graph, lambda rgb, x: (graph(rgb, x)[0], torch.zeros(2, 4, 1, 1)), cases, "float32")


def test_a_model_that_looks_at_its_size_is_exported_at_one(tmp_path: Path) -> None:
    model = tiny(OneSize)
    model.input_size = (20, 24)
    done = fusionzoo.export(model, tmp_path / "m.pt2")
    assert (done.shapes.height, done.shapes.width, done.shapes.batch) == (20, 24, None)
    assert done.fixed_because and done.comparison.shapes == [(1, 20, 24), (2, 20, 24)]


def test_what_onnx_refuses_at_a_free_size_is_exported_at_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = formats.TorchFile.runner

    def refuse(self: formats.TorchFile) -> Any:
        if self.traced.range_constraints and len(self.traced.range_constraints) > 1:
            raise InputError("tiny cannot be exported to ONNX: no such operator")
        return honest(self)

    monkeypatch.setattr(formats.TorchFile, "runner", refuse)
    model = tiny()
    model.input_size = (8, 12)
    done = fusionzoo.export(model, tmp_path / "m.pt2")
    assert (done.shapes.height, done.shapes.width) == (8, 12) and done.fixed_because == "no such operator"


def test_what_onnxruntime_cannot_run_is_said_and_no_fault_of_ours() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    graph = Graph(tiny(), inside=True)
    run = formats.OnnxFile(graph, trace(graph, Shapes(1, 8, 12, 5), False), opset=20, int8=False).runner()
    rgb, x = map(torch.from_numpy, raw(1, 12, 8))
    with pytest.raises(
        InputError, match=r"^onnxruntime cannot run this model at \(1, 3, 12, 8\): .*invalid dimensions"
    ):
        run(rgb, x)


class Absent(Tiny):
    """Another class where an image has no x at all, as a model with a substitute for it."""

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        gone = (x == 0).all(dim=(1, 2, 3), keepdim=True)
        return torch.where(gone, 5.0, super().scores(rgb, x))


def test_the_comparison_has_an_image_without_x() -> None:
    model, other = tiny(Absent), tiny().requires_grad_(False)  # equal but where an image has no x

    def run(rgb: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        return (other(*other.preprocess(rgb, x)),)

    assert compare(model, Graph(model, inside=True), run, [(1, 20, 24)], "float32").largest < 1e-6
    with pytest.raises(CheckFailed, match="logits differ"):
        compare(model, Graph(model, inside=True), run, [(2, 20, 24)], "float32")


def test_a_model_that_no_graph_holds_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^tiny cannot be exported: .*data-dependent"):
        fusionzoo.export(tiny(Looks), tmp_path / "m.pt2", size=(8, 12))
    assert not list(tmp_path.iterdir())


def test_half_precision_and_its_loss_on_data(tmp_path: Path) -> None:
    data = Planted("test", n=3, size=(32, 48))
    model = tiny(num_classes=data.num_classes)
    model.set_classes(data.class_names)
    done = fusionzoo.export(model, tmp_path / "m.pt2", dtype="float16", data=data, batch_size=2)
    program = torch.export.load(tmp_path / "m.pt2").module()
    assert next(iter(program.parameters())).dtype == torch.float16
    table = np.zeros((2, data.num_classes, data.num_classes))
    for sample in (data[i] for i in range(3)):
        pair = sample["rgb"][None], sample["x"][None]
        label = sample["label"]
        with torch.no_grad():
            for i, logits in enumerate((model(*model.preprocess(*pair)), program(*pair)[0])):
                up = torch.nn.functional.interpolate(logits.float(), label.shape, mode="bilinear").argmax(1)[0]
                known = label != data.ignore_index
                np.add.at(table[i], (label[known].numpy(), up[known].numpy()), 1)
    hit = np.diagonal(table, axis1=1, axis2=2)
    union = table.sum(1) + table.sum(2) - hit
    wanted = [np.mean(hit[i][union[i] > 0] / union[i][union[i] > 0]) for i in range(2)]
    assert done.loss is not None and done.loss.n == 3
    np.testing.assert_allclose([done.loss.pytorch, done.loss.exported], wanted, atol=1e-9)
    assert done.loss.points == pytest.approx(100 * (wanted[0] - wanted[1]))
    assert 0 < done.comparison.largest < 0.01 * done.comparison.logits, "float16 is neither float32 nor far away"


def test_the_loss_is_of_what_the_export_says() -> None:
    data = Planted("test", n=2, size=(32, 48))
    model, other = tiny(num_classes=data.num_classes), tiny(num_classes=data.num_classes)
    with torch.no_grad():
        for value in other.head.parameters():
            value.copy_(value.roll(1, dims=0))  # every class is called like its neighbour
    one, two = Graph(model, True), Graph(other, True)
    same, moved = (loss(model, True, run, data, 2, Shapes(None, None, None, 5)) for run in (one, two))
    renamed = loss(other, True, one, data, 2, Shapes(None, None, None, 5))
    assert same.points == 0 and moved.pytorch == same.pytorch == renamed.exported
    assert moved.exported == renamed.pytorch != same.pytorch


def test_images_of_another_size_than_the_export_takes_are_named(tmp_path: Path) -> None:
    data = Planted("test", n=1, size=(32, 48))
    model = tiny(num_classes=data.num_classes)
    model.set_classes(data.class_names)
    with pytest.raises(InputError, match="is 32x48, but the export takes any batch, size 8x12"):
        fusionzoo.export(model, tmp_path / "m.pt2", size=(8, 12), data=data)
    assert not list(tmp_path.iterdir())


def test_another_result_than_the_models_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = formats.TorchFile.runner

    def off(self: formats.TorchFile) -> Any:
        run = honest(self)
        return lambda rgb, x: tuple(1.01 * value for value in run(rgb, x))

    monkeypatch.setattr(formats.TorchFile, "runner", off)
    with pytest.raises(CheckFailed, match="logits differ by up to .* nothing was written"):
        fusionzoo.export(tiny(), tmp_path / "m.pt2", size=(8, 12))
    assert not list(tmp_path.iterdir())


CASES = [(1, 8, 12), (2, 9, 13)]


def judged(kind: str, change: Callable[[Tensor], Tensor], model: Tiny | None = None) -> Comparison:
    """What is said of an export whose logits are the model's, changed."""
    graph = Graph(model or tiny(), True)
    return compare(graph.model, graph, lambda rgb, x: (change(graph(rgb, x)[0]),), CASES, kind)


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
@pytest.mark.parametrize("model", [Tiny, Whole])
def test_zeros_are_refused(kind: str, model: type[Tiny]) -> None:
    """Of logits of any size: of small ones they are near in absolute terms, and of one class all classes are kept."""
    made = tiny(model)
    with torch.no_grad():
        made.head.weight *= 1e-4
        made.get_parameter("head.bias").copy_(torch.tensor([1e-3, 0, 0]))
    with pytest.raises(CheckFailed, match=r"logits differ by up to .* nothing was written"):
        judged(kind, torch.zeros_like, made)


@pytest.mark.parametrize(("kind", "near", "far"), [("float32", 5e-5, 2e-4), ("float16", 0.03, 0.07)])
def test_how_far_apart_logits_may_be(kind: str, near: float, far: float) -> None:
    assert judged(kind, lambda v: v + near * v.abs().max()).same_class == 1
    with pytest.raises(CheckFailed, match="logits differ"):
        judged(kind, lambda v: v + far * v.abs().max())


@pytest.mark.parametrize(("model", "of"), [(Tiny, "pixels"), (Whole, "images")])
def test_other_classes_in_int8_are_refused(model: type[Tiny], of: str) -> None:
    made = tiny(model)
    with torch.no_grad():
        made.get_parameter("head.bias").add_(20)  # so that the classes change by a small part of the logits
    with pytest.raises(CheckFailed, match=f"in int8 0.0 % of the {of} keep their class, fewer than 40 %"):
        judged("int8", lambda v: v.roll(1, dims=1), made)
    found = judged("int8", lambda v: torch.cat([v[..., :1].roll(1, dims=1), v[..., 1:]], dim=3), tiny())
    assert 0.4 < found.same_class < 0.95 and found.of == "pixels"
    turn = iter([0, 1, 1] + 21 * [0])  # of the first three images alone too many would lose their class
    whole = judged("int8", lambda v: v.roll(next(turn), dims=1), made) if of == "images" else None
    assert whole is None or whole.same_class == pytest.approx(21 / 24)


def test_a_model_that_gives_nan_is_not_written(tmp_path: Path) -> None:
    model = tiny()
    with torch.no_grad():
        model.get_parameter("head.bias")[0] = float("nan")
    with pytest.raises(CheckFailed, match="logits is not finite in PyTorch"):
        fusionzoo.export(model, tmp_path / "m.pt2", size=(8, 12))
    assert not list(tmp_path.iterdir())


def test_a_place_where_nothing_can_be_written_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(**options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("fusionzoo.export.run.tempfile.TemporaryFile", closed)
    monkeypatch.setattr("fusionzoo.export.run.trace", lambda *args: pytest.fail("the work began"))
    with pytest.raises(InputError, match=f"cannot write into {tmp_path}: Permission denied"):
        fusionzoo.export(tiny(), tmp_path / "m.pt2", size=(8, 12))


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.pt2").write_bytes(b"before")

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left on device; what was there before is whole"):
        fusionzoo.export(tiny(), tmp_path / "m.pt2", size=(8, 12))
    assert [p.name for p in tmp_path.iterdir()] == ["m.pt2"] and (tmp_path / "m.pt2").read_bytes() == b"before"


def test_a_kill_between_both_files_leaves_no_description_without_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[str] = []
    replace = os.replace

    def killed(here: Path, there: Path) -> None:
        if put:
            raise KeyboardInterrupt
        put.append(there.name)
        replace(here, there)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        fusionzoo.export(tiny(), tmp_path / "m.pt2", size=(8, 12))
    assert put == ["m.pt2"] == [p.name for p in tmp_path.iterdir()]


def test_int8_in_onnxruntime(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    done = fusionzoo.export(tiny(), tmp_path / "m.onnx", int8=True, size=(32, 48))
    assert done.arithmetic == "int8" and 0.95 < done.comparison.same_class <= 1
    assert 1e-3 < done.comparison.largest / done.comparison.logits < 0.05, "eight bits, and no more"


@pytest.mark.slow
def test_int8_of_a_trained_model_says_what_it_costs(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    name = "concat_mobilenetv1-025_fpn.planted"
    whole = fusionzoo.export(name, tmp_path / "whole.onnx", data="planted", limit=40)
    small = fusionzoo.export(name, tmp_path / "int8.onnx", int8=True, data="planted", limit=40)
    assert whole.loss is not None and abs(whole.loss.points) < 0.01 and whole.comparison.same_class > 0.9999
    assert small.loss is not None and small.loss.pytorch == whole.loss.pytorch and -1 < small.loss.points < 5
    assert small.size_bytes < 0.6 * whole.size_bytes and small.comparison.largest > whole.comparison.largest
