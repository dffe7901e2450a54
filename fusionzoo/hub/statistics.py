"""Mean and deviation of the images that the published weights of an encoder were trained with."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.models.stages import encoder_name

__all__ = ["rgb_statistics"]

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
_DPN = (124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3
_OWN = {
    **dict.fromkeys(("inceptionresnetv2", "inceptionv4", "xception"), _HALF),
    **dict.fromkeys(("dpn68", "dpn68b", "dpn92", "dpn98", "dpn107", "dpn131"), _DPN),
}
"""Encoders of smp's own whose weights were not trained with ImageNet's mean and deviation."""


def rgb_statistics(encoder: str) -> dict[str, list[float]]:
    """`rgb_mean` and `rgb_std` (of rgb in 0..1) of the usual weights of `encoder`; ImageNet's where not known.

    >>> rgb_statistics("tu-tf_efficientnet_lite0")
    {'rgb_mean': [0.5, 0.5, 0.5], 'rgb_std': [0.5, 0.5, 0.5]}
    """
    import timm

    name = encoder_name(encoder)
    plain = name.removeprefix("tu-").removeprefix("timm-")
    mean: Sequence[float]
    std: Sequence[float]
    mean, std = _OWN.get(name, _IMAGENET)
    if name != plain and timm.models.is_model(plain) and (cfg := timm.models.get_pretrained_cfg(plain)) is not None:
        mean, std = cfg.mean, cfg.std
    return {"rgb_mean": [float(v) for v in mean], "rgb_std": [float(v) for v in std]}
