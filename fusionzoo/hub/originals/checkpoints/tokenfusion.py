"""TokenFusion (github.com/yikaiw/TokenFusion): official keys to ours."""

from __future__ import annotations

from fusionzoo.errors import unknown
from fusionzoo.hub.originals.checkpoints import gemini
from fusionzoo.hub.originals.checkpoints.gemini import BODY, mit_table
from fusionzoo.hub.originals.checkpoints.source import REPEATED, Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, load_model
from fusionzoo.models import FusionModel

ATTENTION = {official: ours for official, ours in gemini.ATTENTION.items() if not ours.startswith("fusion.")}
BLOCK = BODY | {f"attn.{official}": f"attention.{ours}" for official, ours in ATTENTION.items()}


def table(model: FusionModel) -> dict[str, str]:
    """Official keys of the model of these sizes."""
    out = mit_table(model, BLOCK, "fusion.blocks")
    for i in range(4):
        for m, ours in enumerate(("rgb", "x")):
            nets = f"encoder.score_predictor.{i}.score_nets.{m}"
            out |= {f"{nets}.{j}": f"stage{i + 2}.fusion.score_{ours}.net.{j}" for j in (0, 1, 3, 5, 7)}
    return out


def tokenfusion(state: State, ctor: Arguments) -> Loaded:
    """`backbone`: "mit_b2", ..."""
    backbone = str(ctor("backbone"))
    if f"tokenfusion_{backbone}" not in MODELS:
        raise unknown("backbone", backbone, [k.removeprefix("tokenfusion_") for k in MODELS])
    return load_model(
        f"tokenfusion_{backbone}",
        state,
        table,
        num_classes=ctor("num_classes"),
        embedding_dim=ctor("embedding_dim", 256),
        detach_ensemble=True,
    )


MODELS = {f"tokenfusion_mit_b{size}": tokenfusion for size in range(6)}
SOURCES = {
    name: Source(
        kind=name,
        ctor={"backbone": name.removeprefix("tokenfusion_"), "embedding_dim": 256},
        classes=("num_classes", "decoder.linear_pred.weight"),
        licence_note="The original repository's licence is MIT; its mix_transformer.py carries NVIDIA's non-commercial"
        " source code licence, and its encoders start from NVIDIA's ImageNet weights, non-commercial too.",
        origin="github.com/yikaiw/TokenFusion",
        citation="Wang et al., TokenFusion, CVPR 2022, arXiv 2204.08721",
        notes=REPEATED,
    )
    for name in MODELS
}
