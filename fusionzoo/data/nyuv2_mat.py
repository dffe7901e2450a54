"""NYU Depth v2 out of the original `nyu_depth_v2_labeled.mat` (MATLAB 7.3, that is HDF5; read with the optional h5py).

MATLAB stores the first axis fastest, HDF5 the last, so every array is read transposed: `images` (N, 3, W, H) uint8,
`depths` (N, W, H) float32 metres (holes filled), `labels` (N, W, H) of 894 classes, 0 = unlabelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fusionzoo.data.matlab import Hdf5, one_line, variable
from fusionzoo.errors import InputError

__all__ = ["MatSource"]


class MatSource:
    """The images, depths and 40-class labels of the original file, by 1-based id.

    Two things are not in that file and are looked for beside it:

    * the classes: `classMapping40.mat` with `mapClass`, 894 numbers of 1..40 (Gupta et al., CVPR 2013), or
      `labels40.mat` with `labels40`, the finished label images of all N; or pass `class_map`: the path of either, or
      the 894 numbers.
    * the split: `splits.mat` with `trainNdxs` and `testNdxs` (from the data set's page), or `train.txt` and `test.txt`
      with one id a line; or pass `splits`: the path of a `splits.mat`.

    `.mat` companions older than version 7.3 need the optional scipy.

    Raises:
        InputError: h5py or scipy is not installed, a companion or variable is missing, shapes do not fit.
    """

    def __init__(
        self, path: Path, class_map: str | Path | Sequence[int] | None = None, splits: str | Path | None = None
    ) -> None:
        self.path, self._mat = path, Hdf5(path)
        file = self._mat.file
        for name, ndim in (("images", 4), ("depths", 3), ("labels", 3)):
            if name not in file or file[name].ndim != ndim:
                raise InputError(f"{path} has no {name!r} array of {ndim} axes; is it nyu_depth_v2_labeled.mat?")
        self.count = int(file["images"].shape[0])
        plane = tuple(file["images"].shape[2:])
        for name in ("depths", "labels"):
            if tuple(file[name].shape) != (self.count, *plane):
                raise InputError(
                    f"{path}: {name} is {file[name].shape}, images {file['images'].shape}; download it again"
                )
        self._plane = plane[::-1]  # (H, W)
        self._lut, self._labels40 = self._classes(class_map)
        self._splits = self._split_ids(splits)

    def official(self, part: str) -> list[int]:
        """The ids of the official "train" or "test" list."""
        return self._splits[part]

    def read(self, number: int) -> tuple[Tensor, np.ndarray, np.ndarray, float]:
        """(rgb uint8 (3, H, W), depth float32 (1, H, W) metres, label 0..40 (H, W), 1.0)."""
        file = self._mat.file
        try:
            rgb = file["images"][number - 1].transpose(0, 2, 1)
            depth = file["depths"][number - 1].T.astype(np.float32)[None]
            fine = None if self._labels40 is not None else file["labels"][number - 1].T
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{self.path}: image {number} cannot be read ({one_line(error)}); download it again"
            ) from error
        if fine is None:
            assert self._labels40 is not None
            label = self._labels40[number - 1]
        else:
            top = int(fine.max())
            if top >= len(self._lut):
                raise InputError(
                    f"{self.where(number, 'label')} has class {top}, but the class map only {len(self._lut) - 1}"
                )
            label = self._lut[fine]
        return torch.from_numpy(np.ascontiguousarray(rgb)), np.ascontiguousarray(depth), label, 1.0

    def where(self, number: int, part: str) -> str:
        """Names one `part` ("rgb", "x", "label") of image `number`."""
        return f"{self.path} {part} {number}"

    def _classes(self, given: str | Path | Sequence[int] | None) -> tuple[np.ndarray, np.ndarray | None]:
        """(lookup of the 894 + 1 values, None) or (empty, label images (N, H, W))."""
        if given is not None and not isinstance(given, (str, Path)):
            return _lookup(np.asarray(given), "class_map"), None
        if given is None:
            beside = [self.path.with_name(n) for n in ("classMapping40.mat", "labels40.mat")]
            given = next((p for p in beside if p.is_file()), None)
            if given is None:
                raise InputError(
                    f"{self.path} labels 894 classes; put classMapping40.mat (variable mapClass) or labels40.mat"
                    " beside it, or pass class_map="
                )
        path = Path(given)
        name, values = variable(path, ("mapClass", "labels40"))
        if name == "mapClass":
            return _lookup(values, str(path)), None
        height, width = self._plane
        if values.shape == (height, width, self.count):
            values = values.transpose(2, 0, 1)
        elif values.shape == (self.count, width, height):
            values = values.transpose(0, 2, 1)
        else:
            raise InputError(f"{path}: labels40 is {values.shape}, wanted {height} x {width} x {self.count}")
        return np.zeros(0, np.uint8), values

    def _split_ids(self, given: str | Path | None) -> dict[str, list[int]]:
        path = Path(given) if given is not None else self.path.with_name("splits.mat")
        lists = {part: self.path.with_name(f"{part}.txt") for part in ("train", "test")}
        if given is None and not path.is_file() and all(p.is_file() for p in lists.values()):
            found = {part: np.array(p.read_text(encoding="utf-8").split()) for part, p in lists.items()}
        elif path.is_file():
            found = {part: variable(path, (f"{part}Ndxs",))[1] for part in lists}
        else:
            raise InputError(
                f"{path} does not exist; the official split is not in the data file: put splits.mat (trainNdxs,"
                " testNdxs) or train.txt and test.txt beside it, or pass splits="
            )
        out: dict[str, list[int]] = {}
        for part, values in found.items():
            try:
                out[part] = [int(v) for v in values.ravel()]
            except ValueError as error:
                raise InputError(
                    f"the {part} split beside {self.path} has an id that is not a number ({error})"
                ) from error
            wrong = [i for i in out[part] if not 1 <= i <= self.count]
            if wrong or not out[part]:
                raise InputError(f"the {part} split of {self.path} names image {wrong[:1]}; ids are 1 to {self.count}")
        return out


def _lookup(values: np.ndarray, where: str) -> np.ndarray:
    """mapClass -> lookup with 0 for unlabelled in front."""
    flat = values.ravel()
    if flat.size == 0 or flat.dtype.kind not in "uif" or not np.isin(flat, np.arange(41)).all():
        raise InputError(f"{where}: a class map is one number of 0..40 for each of the 894 classes, in order")
    return np.concatenate(([0], flat)).astype(np.uint8)
