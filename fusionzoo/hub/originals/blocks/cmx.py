"""CMX's FRM and FFM, called as the original is (github.com/huaaaliu/RGBX_Semantic_Segmentation, MIT)."""

from __future__ import annotations

from torch import Tensor

from fusionzoo.fusion.cmx import FeatureFusion, FeatureRectify
from fusionzoo.hub.originals.checkpoints.cmx import FFM, FRM
from fusionzoo.hub.originals.port import Block, Make, View, as_tokens

GATES = {"channel_weights": "channel_gate", "spatial_weights": "spatial_gate"}
MAPS = {f"cross.cross_attn.{i}": f"{stream}.attended" for i, stream in enumerate(("rgb", "x"))}
MAPS |= {f"cross.{i}": f"{stream}.joined" for i, stream in enumerate(("rgb", "x"))}


def _gates_first(gate: Tensor) -> Tensor:
    """(B, 2, C) or (B, 2, H, W) -> (2, B, C, 1, 1) or (2, B, 1, H, W)."""
    gate = gate.transpose(0, 1)
    return gate[..., None, None] if gate.ndim == 3 else gate.unsqueeze(2)


BLOCKS: dict[str, Make] = {
    # (x1, x2) -> (x1, x2)
    "cmx_frm": lambda c: Block(
        FeatureRectify(c("dim"), c("reduction", 1), c("lambda_c", 0.5), c("lambda_s", 0.5)),
        FRM,
        views={name: View(ours, _gates_first) for name, ours in GATES.items()},
    ),
    # (x1, x2) -> fused
    "cmx_ffm": lambda c: Block(
        FeatureFusion(c("dim"), c("num_heads"), c("reduction", 1)),
        FFM,
        views={name: View(ours, as_tokens) for name, ours in MAPS.items()},
    ),
}
