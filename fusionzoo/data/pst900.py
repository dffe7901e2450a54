"""PST900 (Shivakumar et al., ICRA 2020): RGB and thermal underground, 894 pairs of 1280 x 720.

Paper: "PST900: RGB-Thermal Calibration, Dataset and Segmentation Network". Licence: that of the repository's code is
GPL-3.0 as far as we know; none is stated for the data itself. To get it: the repository
ShreyasSkandanS/pst900_thermal_rgb links to the archive PST900_RGBT_Dataset. Splits: 597 train, 297 test.

Layout: `train/` and `test/`, in each `rgb/`, `thermal/` (8-bit), `labels/` (0..4) with files of equal names
(`thermal_raw/`, 16-bit, and `depth/`, where they are there, are not read). Scores are usually means over all five
classes, the background being one; with num_classes=4 it is void.
"""

from __future__ import annotations

from fusionzoo.data.official import Classes, Facts, OfficialDataset, colours

__all__ = ["PST900"]

_NAMES = ("background", "fire extinguisher", "backpack", "hand drill", "survivor")
_COLOURS = colours("000000 0000ff 00ff00 ff0000 ffffff")


class PST900(OfficialDataset):
    """PST900; x is thermal, 0..255. Arguments and samples as of `OfficialDataset`."""

    name = "pst900"
    x_kind = "thermal"
    folders = {"rgb": "rgb", "x": "thermal", "label": "labels"}
    facts = Facts(
        title="PST900",
        paper="Shivakumar et al., PST900: RGB-Thermal Calibration, Dataset and Segmentation Network, ICRA 2020",
        licence="none stated for the data (its code: GPL-3.0)",
        get="github.com/ShreyasSkandanS/pst900_thermal_rgb (PST900_RGBT_Dataset)",
        layout="train/ and test/, each with rgb/ thermal/ labels/",
        splits={"train": 597, "test": 297},
        classes={
            5: Classes(_NAMES, tuple(range(5)), (), _COLOURS),
            4: Classes(_NAMES[1:], tuple(range(1, 5)), (0,), _COLOURS[1:]),
        },
    )
