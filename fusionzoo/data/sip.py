"""SIP (Fan et al., TNNLS 2021): RGB and depth of salient persons outdoors, 929 of a phone with two cameras.

Paper: "Rethinking RGB-D Salient Object Detection: Models, Data Sets, and Large-Scale Benchmarks". Licence: none is
stated that we know of; treat it as for research. To get it: the repository DengPingFan/D3NetBenchmark. Splits: 929
test; there is none to train on.

Layout: `RGB/` (.jpg), `depth/` (8-bit .png) and `GT/` (.png) with files of equal names, right in the folder. See
`fusionzoo.data.saliency`.
"""

from __future__ import annotations

from pathlib import Path

from fusionzoo.data.official import Facts
from fusionzoo.data.saliency import CLASSES, SaliencyDataset

__all__ = ["SIP"]


class SIP(SaliencyDataset):
    """SIP; x is depth as a grey picture, 0..255. Arguments and samples as of `OfficialDataset`."""

    name = "sip"
    facts = Facts(
        title="SIP",
        paper="Fan et al., Rethinking RGB-D Salient Object Detection: Models, Data Sets, and Large-Scale Benchmarks,"
        " TNNLS 2021",
        get="github.com/DengPingFan/D3NetBenchmark (SIP)",
        layout="RGB/ depth/ GT/",
        splits={"test": 929},
        classes=CLASSES,
    )

    def of_split(self, split: str) -> Path:
        return self.root
