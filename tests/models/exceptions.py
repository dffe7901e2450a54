"""Every exception to the shared tester of models, with its reason: nothing else is left out."""

from __future__ import annotations

import fnmatch

_LAST = tuple(
    f"stage5.fusion.{part}" for part in ("block.scale?_e", "block.mlp_e.*", "block.attention.project_e.*", "expand.*")
)
UNTRAINED = {
    "cmx_*_fpn": ("stage1.fusion.fusion.*",),
    "cmnext_*_fpn": ("stage1.fusion.fusion.*",),
    "sigma_*_fpn": ("stage1.fusion.concat.*",),
    "hybrid_exchange_*_fpn": ("stage1.fusion.join.*", "stage1.fusion.norm.*"),
    "hybrid_trust_*_fpn": tuple(f"stage1.fusion.{part}.*" for part in ("trust_*", "factor_*", "join", "norm")),
    "dformer_*_fpn": _LAST,
    "tuni_*_fpn": _LAST,
}
"""Parameters without a gradient in a composed model. At level 1 the streams exchange, but FPN does not read what is
made for the decoder; after level 5 nothing reads what is made for x's next stage."""

FIXED = {"multimae_*": ("*.positions",), "dplnet_*": ("rgb_encoder.*",)}
"""Parameters that do not learn, as in the original: sine and cosine positions, an encoder that prompts turn."""

UNREAD = {"sagate_*": ("stage3.fusion.fused", "stage4.fusion.fused"), "multimae_*": ("stage4.x",)}
"""Points of `model.levels` that do not change the result. SA-Gate's decoder reads the first and the last merged map;
the streams carry on with outputs of their own. MultiMAE's head reads RGB's tokens alone: x's of the last level have
come too late."""

SILENT = {"*_mit-b*_*": ("stage1.rgb", "stage1.x")}
"""Probes that never fire: a Mix Transformer starts at stride 4, its level 1 is empty."""

LAST_LEVEL = {"multimae_tiny": 4}
"""Models whose last level is not 5: a transformer of three blocks has no more to show."""


def of(table: dict[str, tuple[str, ...]], name: str) -> tuple[str, ...]:
    """The patterns that stand for model `name`."""
    return tuple(p for model, patterns in table.items() if fnmatch.fnmatchcase(name, model) for p in patterns)


def excepted(table: dict[str, tuple[str, ...]], name: str, what: str) -> bool:
    """Whether `what` of model `name` is an exception."""
    return any(fnmatch.fnmatchcase(what, pattern) for pattern in of(table, name))
