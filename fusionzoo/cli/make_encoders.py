"""Makes the table of encoders in fusionzoo/models/README.md anew: python -m fusionzoo.cli.make_encoders.

One row a family, from a small member that is built without storage.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from fusionzoo.errors import InputError
from fusionzoo.files import atomic_write
from fusionzoo.models.families import stage_modules, why_whole
from fusionzoo.models.stages import build_encoder, known_encoders, out_channels

__all__ = ["FAMILIES", "fresh"]

TARGET = Path(__file__).parents[1] / "models" / "README.md"
BEGIN, END = "<!-- encoders: begin -->", "<!-- encoders: end -->"

FAMILIES = (
    # names of a family as patterns, its example
    (r"mobilenetv1-\d+", "mobilenetv1-100"),
    (r"resne[x]?t.*", "resnet18"),
    (r"timm-sk.*", "timm-skresnet18"),
    (r"se.*ne[x]?t.*", "se_resnet50"),
    (r"dpn.*", "dpn68"),
    (r"vgg.*", "vgg11"),
    (r"densenet.*", "densenet121"),
    (r"inceptionresnetv2", "inceptionresnetv2"),
    (r"inceptionv4", "inceptionv4"),
    (r"xception", "xception"),
    (r"efficientnet-.*", "efficientnet-b0"),
    (r"timm-efficientnet-.*", "timm-efficientnet-b0"),
    (r"timm-tf_efficientnet_lite.*", "timm-tf_efficientnet_lite0"),
    (r"mobilenet_v2", "mobilenet_v2"),
    (r"mit_.*", "mit_b0"),
    (r"mobileone_.*", "mobileone_s0"),
    *(("", f"tu-{name}") for name in (
        "resnet18", "resnetv2_50", "res2net50_26w_4s", "resnest14d", "regnety_002", "convnext_atto", "convnextv2_atto",
        "efficientnet_b0", "tf_efficientnet_b0", "tf_efficientnet_lite0", "tf_efficientnetv2_b0", "mobilenetv2_050",
        "mobilenetv3_small_100", "mobilenetv4_conv_small", "mobileone_s0", "fbnetv3_b", "hardcorenas_a",
        "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "pvt_v2_b0", "poolformer_s12", "caformer_s18",
        "edgenext_xx_small", "fastvit_t8", "mobilevit_xs", "efficientvit_b0", "davit_tiny", "focalnet_tiny_srf",
        "nextvit_small", "inception_next_tiny", "mambaout_femto", "rdnet_tiny", "repvit_m0_9", "starnet_s1",
        "swiftformer_xs", "fasternet_t0", "hgnet_tiny", "ghostnet_100", "rexnet_100", "cspresnet50", "dla34",
        "densenet121", "dpn68", "vgg11", "vovnet39a", "nfnet_f0", "skresnet18", "legacy_seresnet18", "inception_v4",
        "tresnet_m", "selecsls42", "hrnet_w18_small", "xception41", "twins_svt_small", "hiera_tiny_224", "mvitv2_tiny",
        "cspnext_s", "maxvit_tiny_rw_224", "nest_tiny", "vit_tiny_patch16_224", "efficientvit_m0",
    )),
)  # fmt: skip
"""(pattern of the names, or "" for timm's of its prefix; a small member) of each family."""


def fresh(text: str) -> str:
    """The README `text` with its table of encoders as they are now."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{_table()}{END}{rest.partition(END)[2]}"


def _table() -> str:
    lines = ["| encoder | of its family | parameters | channels of stages 1 to 5 | stage by stage |",
             "| --- | ---: | ---: | --- | --- |"]  # fmt: skip
    smp = known_encoders()
    for pattern, name in FAMILIES:
        count = str(sum(re.fullmatch(pattern, n) is not None for n in smp)) if pattern else ""
        lines.append(f"| {name} | {count} | {' | '.join(_facts(name))} |")
    return "\n".join(lines) + "\n"


def _facts(name: str) -> tuple[str, str, str]:
    try:
        with torch.device("meta"):
            encoder: Any = build_encoder(name, 3)
    except InputError as error:
        why = re.search(r"it (takes|does)[^.]*", str(error))
        return "", "", f"not an encoder here: {why[0] if why else 'its features are no pyramid of strides 2 to 32'}"
    staged = "yes" if stage_modules(encoder) is not None else f"no: {why_whole(encoder).partition(': ')[2]}"
    count = sum(p.numel() for p in encoder.parameters())
    return f"{count:,}", ", ".join(str(c or "none") for c in out_channels(encoder)[1:]), staged


if __name__ == "__main__":
    atomic_write(TARGET, fresh(TARGET.read_text(encoding="utf-8")))
