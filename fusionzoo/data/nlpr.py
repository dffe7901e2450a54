"""NLPR (Peng et al., ECCV 2014): RGB and Kinect depth of salient objects indoors and outdoors, 1000 of 640 x 480.

Paper: "RGBD Salient Object Detection: A Benchmark and Algorithms". Licence: none is stated that we know of; treat it as
for research. To get it: the repository DengPingFan/D3NetBenchmark links to the two parts as benchmarks use them.
Splits: 700 train, 300 test (those of most work since 2018).

Layout: `NLPR_TRAIN/` and `NLPR_TEST/` (or `train/` and `test/`), in each `RGB/` (.jpg), `depth/` (8-bit) and `GT/`
(.png) with files of equal names. See `fusionzoo.data.saliency`.
"""

from __future__ import annotations

from fusionzoo.data.official import Facts
from fusionzoo.data.saliency import CLASSES, SaliencyDataset

__all__ = ["NLPR"]


class NLPR(SaliencyDataset):
    """NLPR; x is depth as a grey picture, 0..255. Arguments and samples as of `OfficialDataset`."""

    name = "nlpr"
    facts = Facts(
        title="NLPR",
        paper="Peng et al., RGBD Salient Object Detection: A Benchmark and Algorithms, ECCV 2014",
        get="github.com/DengPingFan/D3NetBenchmark (NLPR_TRAIN, NLPR_TEST)",
        layout="NLPR_TRAIN/ and NLPR_TEST/, each with RGB/ depth/ GT/",
        splits={"train": 700, "test": 300},
        classes=CLASSES,
    )
