"""NJU2K (Ju et al., ICIP 2014): RGB and depth of salient objects, 1985 stereo images of many sources and sizes.

Paper: "Depth saliency based on anisotropic center-surround difference". Licence: none is stated that we know of; treat
it as for research. To get it: the repository DengPingFan/D3NetBenchmark links to the two parts as benchmarks use them.
Splits: 1485 train, 500 test (those of most work since 2018, often trained together with NLPR's 700).

Layout: `NJU2K_TRAIN/` and `NJU2K_TEST/` (or `train/` and `test/`), in each `RGB/` (.jpg), `depth/` (8-bit .png, matched
from stereo) and `GT/` (.png) with files of equal names. See `fusionzoo.data.saliency`.
"""

from __future__ import annotations

from fusionzoo.data.official import Facts
from fusionzoo.data.saliency import CLASSES, SaliencyDataset

__all__ = ["NJU2K"]


class NJU2K(SaliencyDataset):
    """NJU2K; x is depth as a grey picture, 0..255. Arguments and samples as of `OfficialDataset`."""

    name = "nju2k"
    facts = Facts(
        title="NJU2K",
        paper="Ju et al., Depth saliency based on anisotropic center-surround difference, ICIP 2014",
        get="github.com/DengPingFan/D3NetBenchmark (NJU2K_TRAIN, NJU2K_TEST)",
        layout="NJU2K_TRAIN/ and NJU2K_TEST/, each with RGB/ depth/ GT/",
        splits={"train": 1485, "test": 500},
        classes=CLASSES,
    )
