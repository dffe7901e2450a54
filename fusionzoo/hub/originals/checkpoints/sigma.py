"""Sigma (github.com/zifuwan/Sigma, MIT): official keys to ours."""

from __future__ import annotations

from functools import partial

from fusionzoo.hub.originals.checkpoints.source import MIT, Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State, listed, load_model
from fusionzoo.models import FusionModel
from fusionzoo.models.published.sigma import single_channel

CROMB = {"op.in_proj": "rgb.enter", "op.in_proj_modalx": "x.enter", "op.conv2d": "conv"}
CROMB |= {"op.out_proj_rgb": "rgb.leave", "op.out_proj_e": "x.leave"}
for _number, _half in ((1, "rgb"), (2, "x")):
    CROMB |= {
        f"op.CMA_ssm.A_log_{_number}": f"{_half}.log_a",
        f"op.CMA_ssm.D_{_number}": f"{_half}.skip",
        f"op.CMA_ssm.x_proj_{_number}": f"{_half}.select",
        f"op.CMA_ssm.dt_proj_{_number}": f"{_half}.step",
        f"op.CMA_ssm.out_norm_{_number}": f"{_half}.norm",
    }
CONMB = {
    "op.x_proj_weight": "select",
    "op.dt_projs_weight": "step_weight",
    "op.dt_projs_bias": "step_bias",
    "op.A_logs": "log_a",
    "op.Ds": "skip",
    "op.in_proj": "enter_rgb",
    "op.in_proj_modalx": "enter_x",
    "op.conv2d": "conv_rgb",
    "op.conv2d_modalx": "conv_x",
    "op.out_norm1": "norm_rgb",
    "op.out_norm2": "norm_x",
    "op.out_proj": "leave",
    "op.fc1.0": "excite_from_rgb.reduce",
    "op.fc1.2": "excite_from_rgb.expand",
    "op.fc2.0": "excite_from_x.reduce",
    "op.fc2.2": "excite_from_x.expand",
}

_SCAN = {
    "op.x_proj_weight": "scan.select",
    "op.dt_projs_weight": "scan.step_weight",
    "op.dt_projs_bias": "scan.step_bias",
    "op.A_logs": "scan.log_a",
    "op.Ds": "scan.skip",
    "op.in_proj": "scan.enter",
    "op.conv2d": "scan.conv",
    "op.out_norm": "scan.norm",
    "op.out_proj": "scan.leave",
}
"""One block's scans of a map."""

_FIXED = {
    "backbone.vssm.patch_embed.0": "patches",
    "backbone.vssm.patch_embed.2": "patch_norm",
    "decode_head.layers_up.0.expand": "decoder.up4.expand",
    "decode_head.layers_up.0.norm": "decoder.up4.norm",
    "decode_head.norm_up": "decoder.norm",
    "decode_head.up.linear1": "decoder.last1",
    "decode_head.up.linear2": "decoder.last2",
    "decode_head.up.norm": "decoder.last_norm",
    "decode_head.output": "decoder.classify",
}
_DECODER_BLOCK = {
    "scale1": "scale1",
    "scale2": "scale2",
    "norm1": "norm1",
    "norm2": "norm2",
    "conv_blk.cab.0": "attend.reduce",
    "conv_blk.cab.2": "attend.expand",
    "conv_blk.cab.3.fc": "attend.excite",
}


def table(model: FusionModel) -> dict[str, str]:
    """Official keys of the model of these sizes."""
    out = dict(_FIXED)
    for i in range(4):
        layer = f"backbone.vssm.layers.{i}"
        out |= listed(model, f"{layer}.blocks", f"layer{i + 1}", _SCAN | {"norm": "norm"})
        out[f"backbone.vssm.outnorm{i}"] = f"norm{i + 1}"
        if i < 3:
            out[f"{layer}.downsample.reduction"] = f"merge{i + 1}.reduce"
            out[f"{layer}.downsample.norm"] = f"merge{i + 1}.norm"
        out |= {f"backbone.cross_mamba.{i}.{a}": f"stage{i + 2}.fusion.cross.{b}" for a, b in CROMB.items()}
        out |= {f"backbone.channel_attn_mamba.{i}.{a}": f"stage{i + 2}.fusion.concat.{b}" for a, b in CONMB.items()}
    for i in (1, 2, 3):  # the decoder starts at the coarsest
        layer = f"decode_head.layers_up.{i}"
        out |= listed(model, f"{layer}.blocks", f"decoder.blocks{4 - i}", _SCAN | _DECODER_BLOCK)
        if i < 3:
            out[f"{layer}.upsample.linear"] = f"decoder.up{4 - i}.reduce"
            out[f"{layer}.upsample.norm"] = f"decoder.up{4 - i}.norm"
    return out


def sigma_model(kind: str, state: State, ctor: Arguments) -> Loaded:
    """`backbone` names the size: "sigma_tiny", ..."""
    name = str(ctor("backbone", kind))
    ctor.only(decoder="MambaDecoder")
    channels = ctor("x_channels", 3)
    usual = single_channel(ctor("x_kind", "grey")) if channels == 1 else None
    args = {"num_classes": ctor("num_classes"), "x_channels": channels, "preprocess": usual}
    return load_model(name, state, table, reshape=True, **args)


KINDS = ("sigma_tiny", "sigma_small", "sigma_base")
MODELS = {kind: partial(sigma_model, kind) for kind in KINDS}
SOURCES = {
    kind: Source(
        kind=kind,
        ctor={"backbone": kind, "x_channels": 1, "x_kind": "grey"},
        classes=("num_classes", "decode_head.output.weight"),
        licence="mit",
        licence_note=MIT,
        origin="github.com/zifuwan/Sigma",
        citation="Wan et al., Sigma, WACV 2025, arXiv 2404.04256",
        notes="x is one channel of 0..255: depth as a grey picture for NYU Depth v2 and SUN RGB-D, thermal for MFNet"
        " and PST900 (--option x_kind=thermal). Both inputs / 255 and with ImageNet's statistics, x three times.",
    )
    for kind in KINDS
}
