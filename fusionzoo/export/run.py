"""From a model to a file that runs without fusionzoo: traced, run, compared, and only then put in its place."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from fusionzoo import __version__
from fusionzoo._check import labelled, open_data
from fusionzoo.errors import CheckFailed, InputError, closest
from fusionzoo.export.compare import Comparison, Loss, compare, loss
from fusionzoo.export.formats import OPSETS, SUFFIXES, OnnxFile, Runner, TorchFile, needs, versions
from fusionzoo.export.graph import Graph, Shapes, candidates, trace
from fusionzoo.files import atomic_files, dump_json
from fusionzoo.hub.load import resolve
from fusionzoo.modalities import METRIC, Part, parts_of
from fusionzoo.models import FusionModel, create_model
from fusionzoo.models.presets import is_architecture
from fusionzoo.models.two_stream import SCENE_LOGITS, TwoStream
from fusionzoo.probes import assert_untapped, select
from fusionzoo.probes.point import bare
from fusionzoo.schema import encode
from fusionzoo.tasks import CLASSIFICATION

__all__ = ["Export", "export"]

FORMAT_VERSION = 1
DEFAULT_SIZE = (480, 640)


@dataclass(frozen=True)
class Export:
    """What was written; `PATH.json` beside the file holds the same, and so does the file's own metadata.

    Attributes:
        path, size_bytes: the file.
        name, source: of the model; `source` says "random weights" for an architecture.
        fusionzoo, versions: versions of this package and of those that wrote and ran the file.
        opset: of ONNX; None for .pt2.
        arithmetic: "float32", "float16" or "int8".
        preprocess_inside: the graph takes rgb as uint8 0..255 and raw x; else what `preprocess` makes of them.
        preprocess: the normalisation, as in config.json.
        inputs, outputs: name -> what it is; in the order of the graph.
        input_size: [height, width] that the model was trained for and is measured at; images of another size are
            brought to it first, rgb bilinear, x by its nearest pixel. None where the model does not say.
        class_names: of the logits' channels.
        modalities: what rgb and x are.
        shapes: which batches and sizes are taken.
        fixed_because: why the size or the batch is fixed although that was not asked for; "" otherwise.
        comparison: with PyTorch, float32.
        loss: of mIoU on data, where data was given.
        scene_names: of a joint model's `scene_logits`.
    """

    path: str
    size_bytes: int
    name: str
    source: str
    fusionzoo: str
    versions: dict[str, str]
    opset: int | None
    arithmetic: str
    preprocess_inside: bool
    preprocess: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, str]
    input_size: list[int] | None
    class_names: list[str]
    modalities: list[str]
    shapes: Shapes
    fixed_because: str
    comparison: Comparison
    loss: Loss | None = field(default=None)
    scene_names: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the content of the file beside the model."""
        values: dict[str, Any] = {"format_version": FORMAT_VERSION, **encode(self, nan_to_none=True)}
        if self.loss is not None:
            values["loss"]["points"] = encode(self.loss.points, nan_to_none=True)
        return values


def export(
    model: FusionModel | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    preprocess: str = "inside",
    probes: str | Sequence[str] = (),
    dtype: str = "float32",
    int8: bool = False,
    opset: int = 20,
    data: str | Any = None,
    split: str | None = None,
    limit: int | None = None,
    batch_size: int = 8,
    revision: str | None = None,
    token: str | bool | None = None,
    index: str | os.PathLike[str] | None = None,
    note: Callable[[str], None] | None = None,
) -> Export:
    """Writes a model as ONNX or as a program of torch.export, after a comparison with PyTorch.

    Beside the file goes `PATH.json` with all that somebody needs who runs it without fusionzoo.

    Args:
        model: a FusionModel, a bundled name, a checkpoint folder, `hf-hub:org/name`, or an architecture, which gets
            random weights.
        path: ends in .onnx or .pt2; its folder is there already.
        size: (H, W) of the input, fixed. None: any size, where torch.export can keep it free.
        preprocess: "inside" the graph (rgb uint8 0..255, x raw: depth in metres) or "beside" it, as JSON (both float32,
            normalised).
        probes: names or patterns of probes whose values are outputs too, named `probe.NAME`. A joint model's scene
            types are an output in any case, `scene_logits`.
        dtype: of weights and arithmetic: "float32" or "float16". Inputs and outputs stay as they are.
        int8: weights in 8 bits, activations quantised on the way: for CPUs, ONNX only.
        opset: of ONNX, 18 to 23.
        data, split, limit: images with labels on which both are scored; see `fusionzoo.check`.
        batch_size: of these.
        revision, token, index: as for `fusionzoo.from_pretrained`.
        note: is told what is being exported, once all of the above is checked and before the work.

    Raises:
        UnknownNameError: no such model, data or probe; the closest are named.
        InputError: another ending, a missing folder or package, a model that cannot be exported; with the reason.
        CheckFailed: the checkpoint fails its verification, or the exported model's outputs are not the model's;
            nothing is written then.
    """
    target = _target(path, dtype, int8, opset, preprocess)
    plain, name, source, record = _model(model, revision, token, index)
    patterns = (probes,) if isinstance(probes, str) else tuple(probes)
    if patterns:
        select(plain, patterns)
    if size is not None and min(size) < 1:
        raise InputError(f"size is {size}; give (height, width), both positive")
    images = None
    if data is not None:
        images = open_data(data, plain, record, split=split, size=size, limit=limit)
        labelled(images)
    kind = "int8" if int8 else dtype
    if note is not None:
        note(f"exporting {name}: a minute or more for a large model")
    graph = Graph(plain, preprocess == "inside", patterns, half=dtype == "float16")
    default = plain.input_size or DEFAULT_SIZE
    make = partial(OnnxFile, graph, opset=opset, int8=int8) if target.suffix == ".onnx" else TorchFile
    written, run, shapes, comparison, why = _freest(plain, graph, make, kind, size, default)
    lost = None
    if images is not None:
        if not shapes.free and size is None:
            images = open_data(data, plain, record, split=split, size=default, limit=limit)
        lost = loss(plain, graph.inside, run, images, batch_size, shapes)
    facts = Export(
        path=os.fspath(path), size_bytes=0, name=name, source=source, fusionzoo=__version__,
        versions=versions(target.suffix), opset=written.opset if isinstance(written, OnnxFile) else None,
        arithmetic=kind, preprocess_inside=graph.inside, preprocess=plain.preprocess.to_dict(),
        inputs=_inputs(plain, graph.inside), outputs=_outputs(plain, graph),
        input_size=list(plain.input_size) if plain.input_size else None, class_names=list(plain.class_names),
        modalities=list(plain.modalities), shapes=shapes, fixed_because=why, comparison=comparison, loss=lost,
        scene_names=plain.scene_names if isinstance(plain, TwoStream) else [],
    )  # fmt: skip
    inner = {key: value for key, value in facts.to_dict().items() if key not in ("path", "size_bytes")}
    content = written.content(inner)
    done = Export(**{**vars(facts), "size_bytes": len(content)})
    atomic_files(target.parent, {target.name: content, f"{target.name}.json": dump_json(done.to_dict())})
    return done


def _freest(
    model: FusionModel, graph: Graph, make: Callable[..., Any], kind: str, size: tuple[int, int] | None,
    default: tuple[int, int],
) -> tuple[OnnxFile | TorchFile, Runner, Shapes, Comparison, str]:  # fmt: skip
    """The file of the freest shapes that the exporter, the runtime and the comparison take; why they are not freer."""
    why = ""
    for shapes, trust in (tried := candidates(graph, size, default)):
        try:
            written = make(traced=trace(graph, shapes, trust))
            run = written.runner()
            comparison = compare(model, graph, run, shapes.cases(), kind)
        except (InputError, CheckFailed) as error:
            if (shapes, trust) == tried[-1] or (isinstance(error, CheckFailed) and not trust):
                raise
            why = why or str(error).partition(": ")[2] or str(error)
            continue
        unasked = shapes.batch is not None or (size is None and not shapes.free)
        return written, run, shapes, comparison, why if unasked else ""
    raise AssertionError("the last candidate raises what it meets")


def _target(path: str | os.PathLike[str], dtype: str, int8: bool, opset: int, preprocess: str) -> Path:
    """The file to write, where all that was chosen goes together; InputError otherwise, before any work."""
    target = Path(path)
    if target.suffix not in SUFFIXES:
        near = closest(target.suffix, SUFFIXES, 1)
        hint = f"did you mean {target.with_suffix(near[0])}?" if near else "give model.onnx or model.pt2"
        raise InputError(f"{os.fspath(path)} ends neither in .onnx nor in .pt2; {hint}")
    choices = {"dtype": (dtype, ("float32", "float16")), "preprocess": (preprocess, ("inside", "beside"))}
    for word, (given, known) in choices.items():
        if given not in known:
            raise InputError(f"{word} is {given!r}; give {' or '.join(map(repr, known))}")
    if int8 and (target.suffix != ".onnx" or dtype != "float32"):
        raise InputError("int8 is for ONNX and starts from float32: give a path that ends in .onnx, and no dtype")
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise InputError(f"opset is {opset}; give one of {OPSETS[0]} to {OPSETS[1]}")
    if not target.parent.is_dir():
        raise InputError(f"{target.parent} is no folder; make it first: mkdir -p {target.parent}")
    if target.is_dir():
        raise InputError(f"{target} is a folder; name a file in it: {target / ('model' + target.suffix)}")
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise InputError(f"cannot write into {target.parent}: {error.strerror or error}") from error
    needs(target.suffix)
    return target


def _model(model: Any, revision: str | None, token: Any, index: Any) -> tuple[FusionModel, str, str, Any]:
    """(a copy in float32 on the CPU, its name, where it came from, its record)."""
    if isinstance(model, str | os.PathLike):
        text = os.fspath(model)
        if is_architecture(text) and not os.path.exists(text):
            return create_model(text), text, "random weights", None
        checkpoint = resolve(text, revision, token, index=index)
        return checkpoint.load()[0], checkpoint.name, checkpoint.source, checkpoint.stated
    plain = bare(model)
    if not isinstance(plain, FusionModel):
        raise InputError(f"{type(plain).__name__} is no model of fusionzoo; give one, or the name of a checkpoint")
    assert_untapped(plain)
    return copy.deepcopy(plain).cpu().float().eval(), plain.architecture, "a model in memory", None


def _inputs(model: FusionModel, inside: bool) -> dict[str, str]:
    """Name -> what it is, in one sentence."""
    p = model.preprocess
    if not inside:
        parts = [part.name + (" as 1 / metres" if part.kind == "inverse_depth" else "") for part in _parts(model)]
        return {
            "rgb": "float32 (batch, 3, height, width): (rgb / 255 - rgb_mean) / rgb_std",
            "x": f"float32 (batch, {model.x_channels}, height, width): {', '.join(parts)};"
            " (x * x_scale - x_mean) / x_std, and 0 where x is missing",
        }
    found = []
    for part in _parts(model):
        metric = part.kind in METRIC
        unit = "0..255" if not metric else "in metres" if p.x_scale == 1 else f"in metres when times {p.x_scale:g}"
        found.append(f"{part.name} {unit}" + (" (0: missing)" if metric else ""))
    return {
        "rgb": "uint8 (batch, 3, height, width): 0..255, in the order red, green, blue",
        "x": f"float32 (batch, {model.x_channels}, height, width), aligned with rgb: {', '.join(found)};"
        " NaN and infinity are missing",
    }


def _parts(model: FusionModel) -> tuple[Part, ...]:
    """The modalities in x."""
    return parts_of(model.preprocess.x_kind, model.x_channels)


def _outputs(model: FusionModel, graph: Graph) -> dict[str, str]:
    """Name -> what it is, in one sentence."""
    size = "1, 1" if model.task == CLASSIFICATION else "height, width"
    found = {"logits": f"float32 (batch, {model.num_classes}, {size}): class scores, the largest wins"}
    points = model.probe_points()
    for name in graph.names:
        found[graph.output(name)] = points[name].meaning or points[name].role or "what passes the probe"
    if SCENE_LOGITS in found:
        found[SCENE_LOGITS] = f"float32 (batch, {model.num_scenes}, 1, 1): scores of scene types, the largest wins"
    return found
