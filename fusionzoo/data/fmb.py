"""FMB (Liu et al., ICCV 2023): RGB and infrared of streets in all weathers, 1500 pairs of 800 x 600.

Paper: "Multi-interactive Feature Learning and a Full-time Multi-modality Benchmark for Image Fusion and Segmentation"
(SegMiF). Licence: none is stated that we know of; treat it as for research. To get it: the repository
JinyuanLiu-CV/SegMiF links to the archive. Splits: 1220 train, 280 test.

Layout: `train/` and `test/`, in each `Visible/`, `Infrared/`, `Label/` with PNG files of equal names. Labels: 0 is
unlabelled, 1..14 the classes. Most work leaves 0 out (14 classes, the default), some counts it (15). The colours are
those that code for the set commonly shows; they were not compared with the authors'.
"""

from __future__ import annotations

from fusionzoo.data.official import Classes, Facts, OfficialDataset, colours

__all__ = ["FMB"]

_NAMES = (
    "road", "sidewalk", "building", "traffic light", "traffic sign", "vegetation", "sky", "person", "car", "truck",
    "bus", "motorcycle", "bicycle", "pole",
)  # fmt: skip
_COLOURS = colours("b3e4e4 b53985 43a2b1 c8b232 842dc7 42ac54 b3494f 4c63a6 4279fd 89a55b 9b6198 69998c ded79e 87715a")


class FMB(OfficialDataset):
    """FMB; x is infrared (kind thermal), 0..255. Arguments and samples as of `OfficialDataset`."""

    name = "fmb"
    x_kind = "thermal"
    folders = {"rgb": "Visible", "x": "Infrared", "label": "Label"}
    facts = Facts(
        title="FMB",
        paper="Liu et al., Multi-interactive Feature Learning and a Full-time Multi-modality Benchmark for Image Fusion"
        " and Segmentation, ICCV 2023",
        get="github.com/JinyuanLiu-CV/SegMiF (FMB)",
        layout="train/ and test/, each with Visible/ Infrared/ Label/",
        splits={"train": 1220, "test": 280},
        classes={
            14: Classes(_NAMES, tuple(range(1, 15)), (0, 255), _COLOURS),
            15: Classes(("unlabelled", *_NAMES), tuple(range(15)), (255,), ((0, 0, 0), *_COLOURS)),
        },
    )
