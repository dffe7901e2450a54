"""GeminiFusion (github.com/JiaDingCN/GeminiFusion): official keys to ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from fusionzoo.errors import CheckFailed, unknown
from fusionzoo.hub.originals.checkpoints.source import REPEATED, Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, blank, load_mapped
from fusionzoo.models import FusionModel
from fusionzoo.models.published.gemini import GeminiSwin

ATTENTION = {
    "q.module": "query",
    "kv.module": "key_value",
    "proj.module": "project",
    "sr.module": "reduce",
    "norm.ln_0": "norm.rgb",
    "norm.ln_1": "norm.x",
    "relation_judger.0.fc1": "fusion.judge.0",
    "relation_judger.0.fc2": "fusion.judge.2",
    "k_noise.weight": "fusion.key_offset",
    "v_noise.weight": "fusion.value_offset",
}
for _official, _ours in (("cross_attn_0_to_1", "fusion.attend_rgb"), ("cross_attn_1_to_0", "fusion.attend_x")):
    ATTENTION |= {f"{_official}.in_proj_{part}": f"{_ours}.in_proj.{part}" for part in ("weight", "bias")}
    ATTENTION[f"{_official}.out_proj"] = f"{_ours}.out_proj"
BODY = {
    "norm1.ln_0": "norm1.rgb",
    "norm1.ln_1": "norm1.x",
    "norm2.ln_0": "norm2.rgb",
    "norm2.ln_1": "norm2.x",
    "mlp.fc1.module": "mlp.widen",
    "mlp.dwconv.dwconv": "mlp.depthwise",
    "mlp.fc2.module": "mlp.narrow",
}
"""The Mix-Transformer block round the attention; TokenFusion's has the same names."""

BLOCK = BODY | {f"attn.{official}": f"attention.{ours}" for official, ours in ATTENTION.items()}


HEAD = {f"linear_c{i}.proj": f"project.{i - 1}" for i in (1, 2, 3, 4)}
HEAD |= {"linear_fuse.conv": "join", "linear_fuse.bn": "bn", "linear_pred": "classify"}
PAIR = {"ln_0": "rgb", "ln_1": "x"}
ENSEMBLE = {"alpha": "alpha"} | {f"decoder.{a}": f"decoder.{b}" for a, b in HEAD.items()}
"""What follows the encoder; TokenFusion's has the same names."""


def mit_table(stages: Sequence[nn.Module], block: Mapping[str, str], blocks: str) -> dict[str, str]:
    """Official keys of a Mix Transformer for two streams, and of what follows it.

    Args:
        stages: the blocks of each stage.
        block: official keys of a block to ours.
        blocks: path from a stage of ours to its blocks.
    """
    out = dict(ENSEMBLE)
    for i, stage in enumerate(stages, 1):
        ours = f"stage{i + 1}"
        out[f"encoder.patch_embed{i}.proj.module"] = f"embed{i + 1}.conv"
        out |= {f"encoder.patch_embed{i}.norm.{a}": f"embed{i + 1}.norm.{b}" for a, b in PAIR.items()}
        out |= {f"encoder.norm{i}.{a}": f"{ours}.norm.{b}" for a, b in PAIR.items()}
        for j, _ in enumerate(stage.children()):
            out |= {f"encoder.block{i}.{j}.{a}": f"{ours}.{blocks}.{j}.{b}" for a, b in block.items()}
    return out


FUSION = {a: b for a, b in ATTENTION.items() if b.startswith("fusion.")}
SWIN_BLOCK = FUSION | {
    "norm1.module": "norm1",
    "norm2.module": "norm2",
    "attn.module.relative_position_bias_table": "attention.bias_table",
    "attn.module.qkv": "attention.qkv",
    "attn.module.proj": "attention.project",
    "mlp.fc1.module": "widen",
    "mlp.fc2.module": "narrow",
}
INDEX = "attn.module.relative_position_index"
"""A buffer of every Swin block: which row of the bias table belongs to which pair of positions."""


def swin_table(stages: Sequence[nn.Module]) -> dict[str, str]:
    """Official keys of the Swin Transformer for two streams, and of what follows it."""
    out = ENSEMBLE | {"encoder.body.patch_embed.proj.module": "embed2.conv"}
    out |= {f"encoder.body.patch_embed.norm.{a}": f"embed2.norm.{b}" for a, b in PAIR.items()}
    for i, stage in enumerate(stages):
        theirs, ours = f"encoder.body.layers.{i}", f"stage{i + 2}"
        out |= {f"encoder.body.norm{i}.{a}": f"{ours}.norm.{b}" for a, b in PAIR.items()}
        out |= {
            f"{theirs}.downsample.module.{a}": f"merge{i + 2}.{b}"
            for a, b in (("norm", "norm"), ("reduction", "reduce"))
        }
        for j, _ in enumerate(stage.children()):
            out |= {f"{theirs}.blocks.{j}.{a}": f"{ours}.fusion.blocks.{j}.{b}" for a, b in SWIN_BLOCK.items()}
    return out


def table(model: FusionModel) -> dict[str, str]:
    """Official keys of the model of these sizes."""
    if isinstance(model, GeminiSwin):
        return swin_table([model.get_submodule(f"stage{i}.fusion.blocks") for i in range(2, 6)])
    return mit_table([model.get_submodule(f"stage{i}.fusion") for i in range(2, 6)], BLOCK, "fusion")


BACKBONES = {f"mit_b{size}": f"gemini_mit_b{size}" for size in range(6)}
BACKBONES |= {f"swin_{size}": f"gemini_swin_{size}" for size in ("tiny", "small", "large", "large_384")}
BACKBONES |= {"swin_large_window12": "gemini_swin_large_384"}
"""The original's name of a backbone -> our architecture."""


def gemini(state: State, ctor: Arguments) -> Loaded:
    """`backbone`: "mit_b3", "swin_tiny", ..."""
    backbone = str(ctor("backbone"))
    if backbone not in BACKBONES:
        raise unknown("backbone", backbone, BACKBONES)
    model = blank(
        BACKBONES[backbone],
        num_classes=ctor("num_classes"),
        embedding_dim=ctor("embedding_dim", 256),
        fusion_heads=ctor("n_heads", 8),
        detach_ensemble=True,
    )
    index = index_keys(model)
    own = without_index(state, index, what=BACKBONES[backbone])
    keys = load_mapped(model, own, table(model), what=BACKBONES[backbone])
    return Loaded(model, keys | {key: f"{ours}.bias_table" for key, ours in index.items()})


def index_keys(model: FusionModel) -> dict[str, str]:
    """Official key of each index -> path of our attention, which computes it: it follows from the window's size."""
    if not isinstance(model, GeminiSwin):
        return {}
    blocks = {
        (i, j): f"stage{i + 2}.fusion.blocks.{j}"
        for i in range(4)
        for j, _ in enumerate(model.get_submodule(f"stage{i + 2}.fusion.blocks").children())
    }
    return {f"encoder.body.layers.{i}.blocks.{j}.{INDEX}": f"{path}.attention" for (i, j), path in blocks.items()}


def without_index(state: State, index: Mapping[str, str], what: str) -> dict[str, Tensor]:
    """`state` without the index buffers.

    Raises:
        CheckFailed: one is missing, or not w^2 x w^2 for a table of (2w - 1)^2 rows; all listed.
    """
    trouble = []
    for key in index:
        table_key = key.replace("_index", "_bias_table")
        if key not in state:
            trouble.append(f"missing: {key}")
        elif table_key in state:
            side = (int(state[table_key].shape[0] ** 0.5) + 1) // 2
            if tuple(state[key].shape) != (side**2, side**2):
                trouble.append(f"{key} is {tuple(state[key].shape)}, wanted {(side**2, side**2)}")
    if trouble:
        raise CheckFailed(f"{what}: this is not a checkpoint of these sizes; {'; '.join(trouble)}")
    return {key: value for key, value in state.items() if key not in index}


MODELS = {f"gemini_{backbone}": gemini for backbone in BACKBONES}
SOURCES = {
    name: Source(
        kind=f"gemini_{backbone}",
        ctor={"backbone": backbone, "n_heads": 8, "embedding_dim": 256},
        classes=("num_classes", "decoder.linear_pred.weight"),
        licence_note="The original repository's licence is MIT; its mix_transformer.py carries NVIDIA's non-commercial"
        " source code licence, and the MiT encoders start from NVIDIA's ImageNet weights, non-commercial too.",
        origin="github.com/JiaDingCN/GeminiFusion",
        citation="Jia et al., GeminiFusion, ICML 2024, arXiv 2406.01210",
        notes=REPEATED,
    )
    for backbone, name in BACKBONES.items()
}
