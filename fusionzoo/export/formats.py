"""The two file formats: ONNX, run by onnxruntime, and torch.export's .pt2. Both are made as bytes."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionzoo.errors import CheckFailed, InputError, first_line
from fusionzoo.export.graph import REFUSALS, Graph, quietly

__all__ = ["OPSETS", "SUFFIXES", "OnnxFile", "Runner", "TorchFile", "needs", "versions"]

SUFFIXES = (".onnx", ".pt2")
OPSETS = (18, 23)
"""First and last opset of ONNX that can be asked for."""
MOST = (1 << 31) - 1
"""Bytes of an ONNX file without files beside it: protobuf's limit."""
DIMENSIONS = ("batch", "channels", "height", "width")

Runner = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
"""(rgb, x) -> the graph's outputs."""


def needs(suffix: str) -> None:
    """InputError where the packages that an ending needs are not installed."""
    missing = []
    for package in ("onnx", "onnxscript", "onnxruntime") if suffix == ".onnx" else ():
        try:
            with quietly():
                importlib.import_module(package)
        except ImportError:
            missing.append(package)
    if missing:
        raise InputError(f"ONNX needs {', '.join(missing)}: pip install 'fusionzoo[export]' (or write model.pt2)")


def versions(suffix: str) -> dict[str, str]:
    """Versions of what wrote and ran a file with this ending."""
    names = ("torch", "onnx", "onnxscript", "onnxruntime") if suffix == ".onnx" else ("torch",)
    return {name: importlib.metadata.version(name) for name in names}


class OnnxFile:
    """An ONNX model.

    Args:
        traced: what `fusionzoo.export.graph.trace` gives of `graph`.
        opset: of the standard operators.
        int8: weights of matrix products and plain convolutions in 8 bits, activations quantised as they come.

    Raises:
        InputError: the exporter, or the quantiser, does not take the model; with its reason.
    """

    def __init__(self, graph: Graph, traced: torch.export.ExportedProgram, opset: int, int8: bool) -> None:
        name = graph.model.architecture
        try:
            with quietly(), torch.no_grad():
                program: Any = torch.onnx.export(
                    traced, dynamo=True, opset_version=opset, verbose=False,
                    input_names=["rgb", "x"], output_names=list(graph.outputs),
                )  # fmt: skip
                self.proto: Any = program.model_proto
        except REFUSALS as error:
            raise InputError(f"{name} cannot be exported to ONNX: {_cause(error)}") from error
        _name_dimensions(self.proto)
        _without_places(self.proto)
        if int8:
            self.proto = _quantised(self.proto, name)
        self.opset = next(o.version for o in self.proto.opset_import if o.domain in ("", "ai.onnx"))

    def content(self, facts: dict[str, Any]) -> bytes:
        """The file; `facts` become its metadata, one JSON value a key."""
        import onnx

        self.proto.producer_name, self.proto.producer_version = "fusionzoo", str(facts.get("fusionzoo", ""))
        onnx.helper.set_model_props(self.proto, {key: json.dumps(value) for key, value in facts.items()})
        if self.proto.ByteSize() > MOST:
            raise InputError(f"the ONNX file would have {self.proto.ByteSize() / 1e9:.1f} GB, more than 2: write .pt2")
        data: bytes = self.proto.SerializeToString()
        return data

    def runner(self) -> Runner:
        """Runs the file in onnxruntime on the CPU; what it cannot load or run is an InputError."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        with _refusals_of_onnxruntime():
            session: Any = onnxruntime.InferenceSession(self.content({}), options, ["CPUExecutionProvider"])
        taken = {i.name for i in session.get_inputs()}

        def run(rgb: Tensor, x: Tensor) -> tuple[Tensor, ...]:
            given = {"rgb": rgb.numpy(), "x": x.numpy()}
            with _refusals_of_onnxruntime(f" at {tuple(rgb.shape)}"):
                found: Sequence[NDArray[Any]] = session.run(None, {k: v for k, v in given.items() if k in taken})
            return tuple(torch.from_numpy(np.ascontiguousarray(value)) for value in found)

        return run


class TorchFile:
    """A program of torch.export, as `torch.export.load("model.pt2").module()(rgb, x)` runs it."""

    def __init__(self, traced: torch.export.ExportedProgram) -> None:
        self.traced = traced
        for node in traced.graph.nodes:
            node.meta.pop("stack_trace", None)  # places in files of the machine that made it

    def content(self, facts: dict[str, Any]) -> bytes:
        """The file; `facts` lie in it as the extra file `fusionzoo.json`."""
        buffer = io.BytesIO()
        with quietly():
            torch.export.save(self.traced, buffer, extra_files={"fusionzoo.json": json.dumps(facts)})
        return buffer.getvalue()

    def runner(self) -> Runner:
        """Runs what is read back from the file's bytes."""
        with quietly():
            module: Any = torch.export.load(io.BytesIO(self.content({}))).module()

        def run(rgb: Tensor, x: Tensor) -> tuple[Tensor, ...]:
            with torch.no_grad(), quietly():
                return tuple(module(rgb, x))

        return run


@contextlib.contextmanager
def _refusals_of_onnxruntime(where: str = "") -> Iterator[None]:
    """What onnxruntime raises as an InputError, with its first line; its errors share no class but a package."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "onnxruntime":
            raise
        raise InputError(f"onnxruntime cannot run this model{where}: {first_line(error)}") from error


def _without_places(proto: Any) -> None:
    """Drops where in whose files each operator came from: half of a small file, and nobody else's business."""
    for node in proto.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (proto.graph, *proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        value.ClearField("metadata_props")


def _name_dimensions(proto: Any) -> None:
    """Free dimensions of the inputs and outputs by their names: what torch calls `s30` is `batch`."""
    names = {
        size.dim_param: word
        for size, word in zip(proto.graph.input[0].type.tensor_type.shape.dim, DIMENSIONS, strict=True)
        if size.dim_param
    }
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in names:
                size.dim_param = names[size.dim_param]


def _quantised(proto: Any, name: str) -> Any:
    """Dynamic int8 of matrix products and of convolutions that are not grouped: of one channel each, 256 steps for all
    kernels together are too few."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    held = {i.name for i in proto.graph.initializer}
    nodes = [n for n in proto.graph.node if n.op_type in ("MatMul", "Gemm", "Conv")]
    grouped = [n.name for n in nodes if any(a.name == "group" and a.i > 1 for a in n.attribute)]
    able = [n.name for n in nodes if n.input[1] in held and n.name not in grouped]
    if not able:
        raise InputError(f"{name} has no matrix product or convolution with stored weights: nothing to hold in int8")
    with tempfile.TemporaryDirectory() as folder, quietly(), contextlib.redirect_stderr(io.StringIO()):
        out = Path(folder) / "int8.onnx"
        try:
            quantize_dynamic(
                proto, out, op_types_to_quantize=["MatMul", "Gemm", "Conv"], weight_type=QuantType.QUInt8,
                nodes_to_quantize=able,
            )  # fmt: skip
        except REFUSALS as error:
            raise CheckFailed(f"{name}: onnxruntime cannot quantise it: {first_line(error)}") from error
        return onnx.load(out)


def _cause(error: BaseException) -> str:
    """The innermost reason of the exporter's long message."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
