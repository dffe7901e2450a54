"""ScanNet frames (Dai et al., CVPR 2017): the 25k subset of the 2D benchmark, RGB-D of rooms.

Paper: "ScanNet: Richly-annotated 3D Reconstructions of Indoor Scenes". Licence: the ScanNet Terms of Use (signed,
non-commercial). To get it: www.scan-net.org, `scannet_frames_25k.zip`; the scene lists `scannetv2_train.txt`,
`scannetv2_val.txt` lie in the repository ScanNet/ScanNet under Tasks/Benchmark. Splits: 19466 train (1201 scenes), 5436
val (312 scenes), and 2135 test (`scannet_frames_test.zip`), whose labels are not published.

Layout: `scannet_frames_25k/scene0000_00/{color/000000.jpg, depth/000000.png, label/000000.png}` and the lists beside
that folder; or the scene folders and the lists directly in the root. Colour and labels are 1296 x 968, depth (16-bit
millimetres, 0 = missing) 640 x 480: depth is brought to the size of the colour by nearest neighbour, as both show the
same view. Labels are NYU-40 ids, of which the benchmark counts 20; the others are void (num_classes=40 counts all). The
colours are those of ScanNet's own tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fusionzoo.data.auxiliary import XFormat
from fusionzoo.data.nyuv2 import CLASSES_40
from fusionzoo.data.official import Classes, Facts, Files, OfficialDataset, colours, folder_ids, lines_of

__all__ = ["COLOURS_40", "ScanNet"]

COLOURS_40 = colours(
    "aec7e8 98df8a 1f77b4 ffbb78 bcbd22 8c564b ff9896 d62728 c5b0d5 9467bd c49c94 17becf b24c4c f7b6d2 42bc66 dbdb8d"
    " 8c39c5 cab934 33b0cb c83683 5cc13d 4e47b7 ac725a ff7f0e 5ba38a 99629c 8c9965 9edae5 647d9a b27f87 78b980 926fc2"
    " 2ca02c 707f90 60cfd1 e377c2 d55cb0 5e6ad3 5252a3 64558f"
)
"""Of the NYU-40 classes, as ScanNet's tools show them."""

_VALUES_20 = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39)
_ENDINGS = {"rgb": (".jpg", ".png"), "x": (".png",), "label": (".png",)}
_FOLDERS = {"rgb": "color", "x": "depth", "label": "label"}


class ScanNet(OfficialDataset):
    """ScanNet frames; x is depth in metres. Arguments and samples as of `OfficialDataset`."""

    name = "scannet"
    x_kind = "depth"
    align = True
    facts = Facts(
        title="ScanNet",
        paper="Dai et al., ScanNet: Richly-annotated 3D Reconstructions of Indoor Scenes, CVPR 2017",
        licence="ScanNet Terms of Use: to be signed, non-commercial",
        get="www.scan-net.org (scannet_frames_25k, scannet_frames_test)",
        layout="scannet_frames_25k/scene*/{color,depth,label}/ and scannetv2_train.txt, scannetv2_val.txt",
        splits={"train": 19466, "val": 5436, "test": 2135},
        classes={
            20: Classes(
                tuple(CLASSES_40[v - 1] for v in _VALUES_20),
                _VALUES_20,
                tuple(v for v in range(41) if v not in _VALUES_20),
                tuple(COLOURS_40[v - 1] for v in _VALUES_20),
            ),
            40: Classes(CLASSES_40, tuple(range(1, 41)), (0,), COLOURS_40),
        },
        unlabelled=("test",),
    )

    def x_format(self) -> XFormat:
        return XFormat(scale=0.001)

    def find(self, split: str) -> dict[str, Files]:
        place = self._place(split)
        found: dict[str, Files] = {}
        for scene in self._scenes(split):
            folders = {part: place / scene / name for part, name in _FOLDERS.items()}
            for stem in folder_ids(folders, _ENDINGS):
                files = {part: folder / f"{stem}{_ENDINGS[part][0]}" for part, folder in folders.items()}
                if not files["rgb"].is_file() and (other := folders["rgb"] / f"{stem}.png").is_file():
                    files["rgb"] = other
                found[f"{scene}/{stem}"] = files
        return found

    def missing(self, split: str, found: Mapping[str, Files]) -> str:
        there = {name.partition("/")[0] for name in found}
        gone = [scene for scene in self._scenes(split) if scene not in there]
        return f"{len(gone)} scenes have none, the first {gone[0]}" if gone else ""

    def _place(self, split: str) -> Path:
        folder = self.root / ("scannet_frames_test" if split == "test" else "scannet_frames_25k")
        return folder if folder.is_dir() else self.root

    def _scenes(self, split: str) -> list[str]:
        """The scenes of a split: of its list, for test without one those that are there."""
        name = f"scannetv2_{split}.txt"
        path = next((p for p in (self.root / name, self._place(split) / name) if p.is_file()), self.root / name)
        if split == "test" and not path.is_file():
            return sorted(p.name for p in self._place(split).iterdir() if p.is_dir() and p.name.startswith("scene"))
        return lines_of(path, f"the scenes of split {split!r}", " (ScanNet/ScanNet, Tasks/Benchmark)")
