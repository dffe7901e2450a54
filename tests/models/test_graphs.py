"""Compiled and exported models equal eager ones; probe names are API and stored in probe_names.json.

After a deliberate change of names: `FUSIONZOO_UPDATE=1 pytest tests/models/test_graphs.py -k names`; look at the diff.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

import fusionzoo
from fusionzoo.models import BASELINES, create_model
from fusionzoo.registry import fusions
from tests.models.exceptions import SILENT, excepted

STORED = Path(__file__).with_name("probe_names.json")
QUICK = ("sum", "concat", "gate", "cross_attention", "hybrid", *BASELINES)
ALL = [f"{f}_mobilenetv1-025_fpn" for f in (*fusions, *BASELINES)]
NAMES = [*ALL, "hybrid_resnet18_unet", "concat_mit-b0_segformer"]
MARKED = [n if n.rsplit("_", 2)[0] in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in ALL]


def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, 3, 65, 96, generator=generator), torch.randn(2, 1, 65, 96, generator=generator)


@pytest.mark.parametrize("name", NAMES)
def test_probe_names_are_the_stored_ones_and_all_fire_once(name: str) -> None:
    model = create_model(name)
    names = list(model.probe_points())
    stored = json.loads(STORED.read_text()) if STORED.is_file() else {}
    if os.environ.get("FUSIONZOO_UPDATE"):
        STORED.write_text(json.dumps(stored | {name: names}, indent=1, sort_keys=True) + "\n")
        stored = json.loads(STORED.read_text())
    assert names == stored[name]
    count = dict.fromkeys(names, 0)

    def tally(point: str, value: torch.Tensor) -> None:
        count[point] += 1

    silent = [n for n in names if excepted(SILENT, name, n)]
    fires = [n for n in names if n not in silent]
    with torch.no_grad(), fusionzoo.listen(model, dict.fromkeys(fires, tally)):
        model(*images())
    assert {n: c for n, c in count.items() if c != 1} == dict.fromkeys(silent, 0)


@pytest.mark.parametrize("name", [*MARKED, "hybrid_resnet18_unet", "concat_mit-b0_segformer"])
def test_fullgraph_compile_equals_eager(name: str) -> None:
    model = create_model(name, num_classes=3)
    with torch.no_grad():
        wanted = model(*images())
        torch._dynamo.reset()
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(*images()), wanted, rtol=1e-4, atol=1e-5)
        with fusionzoo.probe(model, "logits") as tape:  # attached after the first compiled call
            compiled(*images())
        assert tape["logits"].shape[1] == 3


EXPORTED = ("concat_mobilenetv1-025_fpn", "hybrid_mobilenetv1-025_fpn", "cross_attention_resnet18_unet")


@pytest.mark.parametrize(
    "name", [*EXPORTED, *(pytest.param(n, marks=pytest.mark.slow) for n in ALL if n not in EXPORTED)]
)
def test_export_equals_eager(name: str) -> None:
    model = create_model(name, num_classes=3)
    with torch.no_grad():
        exported = torch.export.export(model, images())
        torch.testing.assert_close(exported.module()(*images()), model(*images()), rtol=1e-4, atol=1e-5)
    assert not any("probe" in node.name for node in exported.graph.nodes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["concat_mit-b0_segformer", "cmx_mit_b0", "gemini_swin_tiny", "dformerv2_s"])
def test_onnx_equals_eager(name: str, tmp_path: Path) -> None:
    """Models whose heads, windows and tokens are laid out by einops, run by onnxruntime."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = create_model(name, num_classes=3).eval()
    rgb, x = images()
    x = x.expand(-1, model.x_channels, -1, -1)
    torch.onnx.export(model, (rgb, x), tmp_path / "model.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    inputs = dict(zip((i.name for i in session.get_inputs()), (rgb.numpy(), x.numpy()), strict=True))
    (got,) = session.run(None, inputs)
    with torch.no_grad():
        wanted = model(rgb, x)
    torch.testing.assert_close(torch.from_numpy(got), wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


def test_nothing_attached_adds_no_node() -> None:
    """The graph of a model with probes has as many nodes as that of the same model without them."""
    counts = []
    for keep in (True, False):
        torch._dynamo.reset()
        model = create_model("hybrid_mobilenetv1-025_fpn", num_classes=3)
        if not keep:
            for module in model.modules():
                for child, point in list(module.named_children()):
                    if isinstance(point, fusionzoo.probes.Probe):
                        module._modules[child] = torch.nn.Identity()

        def count(graph: torch.fx.GraphModule, example: object) -> torch.fx.GraphModule:
            counts.append(len(graph.graph.nodes))
            return graph

        with torch.no_grad():
            torch.compile(model, backend=count, fullgraph=True)(*images())
    assert len(counts) == 2 and counts[0] == counts[1]


@pytest.mark.parametrize("name", ALL)
def test_bfloat16_autocast_stays_close(name: str) -> None:
    model = create_model(name, num_classes=3)
    with torch.no_grad():
        wanted = model(*images())
        with torch.autocast("cpu", torch.bfloat16):
            got = model(*images()).float()
    assert bool(torch.isfinite(got).all())
    assert float((got - wanted).abs().max()) < 0.1 * float(wanted.abs().max())
