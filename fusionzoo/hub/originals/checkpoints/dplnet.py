"""DPLNet (github.com/ShaohuaDong2021/DPLNet, no licence): official keys to ours."""

from __future__ import annotations

from functools import partial

from fusionzoo.hub.originals.checkpoints.cmx import head_table, mit_table
from fusionzoo.hub.originals.checkpoints.source import NO_LICENCE, Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, listed, load_model
from fusionzoo.models import FusionModel

ADA = {"conv0_0": "reduce_x", "conv0_1": "reduce_rgb", "conv": "expand"}
TOKENS = {"norm_prompt": "norm"} | {
    f"attn.{official}_prompt": ours
    for official, ours in {"q": "query", "kv": "key_value", "k": "key", "v": "value", "proj": "project"}.items()
}
UNUSED = "rgb.head."
"""The head of the RGB model that the original starts from: it is there and never called."""


def table(model: FusionModel) -> dict[str, str]:
    """Official keys of the model of these sizes."""
    encoder, decoder = mit_table(model, "rgb_encoder"), head_table("conv", "bn")
    out = {"rgb" + official.removeprefix("backbone"): ours for official, ours in encoder.items()}
    out |= {official.removeprefix("decode_"): ours for official, ours in decoder.items()}
    for i in range(1, 5):
        stage = f"stage{i + 1}"
        out |= {f"patch_embed{i}.proj": f"{stage}.embed.conv", f"patch_embed{i}.norm": f"{stage}.embed.norm"}
        out |= {f"ada{i}.{a}": f"{stage}.fusion.{b}" for a, b in ADA.items()}
        out |= listed(model, f"rgb.block{i}", f"{stage}.prompts", TOKENS)
    return out | {"learnable_prompt": "tokens", "conv1": "head"}


def dplnet(size: int, state: State, ctor: Arguments) -> Loaded:
    """`backbone` names the Mix Transformer, else `size` is taken."""
    size = ctor.size("dplnet", "mit_b{}", size, range(1, 6))
    return load_model(
        f"dplnet_mit_b{size}",
        {key: value for key, value in state.items() if not key.startswith(UNUSED)},
        table,
        reshape=True,
        num_classes=ctor("num_classes", 41),
        width=ctor("head_dim", 768),
        head_classes=ctor("head_classes", 150),
        tokens=ctor("tokens", 30),
        token_width=ctor("token_dim", 32),
        original_init=True,
    )


MODELS = {f"dplnet_mit_b{size}": partial(dplnet, size) for size in range(1, 6)}
SOURCES = {
    f"dplnet_mit_b{size}": Source(
        kind=f"dplnet_mit_b{size}",
        ctor={"backbone": f"mit_b{size}"},
        classes=("num_classes", "conv1.weight"),
        licence_note=NO_LICENCE + " The encoder started from NVIDIA's SegFormer weights for ADE20K (non-commercial).",
        origin="github.com/ShaohuaDong2021/DPLNet",
        citation="Dong et al., DPLNet, IROS 2024, arXiv 2312.00360",
        notes="RGB / 255, normalised with ImageNet's mean and deviation; x in 8 bits, one channel that is repeated to"
        " three, / 255, mean 0.449 and deviation 0.226. Class 0 is void, class n of NYU Depth v2's 40 is number n.",
    )
    for size in range(1, 6)
}
