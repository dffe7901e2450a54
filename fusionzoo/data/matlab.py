"""MATLAB files of data sets: version 7.3 (HDF5) through h5py, older ones through scipy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusionzoo.errors import InputError

__all__ = ["Hdf5", "hdf5", "old_variables", "one_line", "variable"]


def hdf5() -> Any:
    """The module h5py. Raises InputError where it is not installed."""
    try:
        import h5py
    except ImportError as error:
        raise InputError("MATLAB 7.3 (HDF5) files need h5py; run: pip install h5py") from error
    return h5py


class Hdf5:
    """A file of version 7.3, opened once in each process: HDF5 handles survive no fork and no pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: Any = None
        self._pid = -1

    @property
    def file(self) -> Any:
        """The open `h5py.File`. InputError: h5py is not installed, another kind of file, or one that is cut off."""
        if self._handle is None or self._pid != os.getpid():
            h5py = hdf5()
            if not h5py.is_hdf5(self.path):
                raise InputError(f"{self.path} is not a MATLAB 7.3 (HDF5) file, or is cut off; download it again")
            self._handle, self._pid = h5py.File(self.path, "r"), os.getpid()
        return self._handle

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_pid": -1}


def old_variables(path: Path, names: Sequence[str]) -> Mapping[str, Any]:
    """Variables of a MATLAB file before version 7.3, as scipy reads them; a name that the file lacks is left out.

    Raises:
        InputError: scipy is not installed, or the bytes are no such file.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise InputError(f"{path} is an old MATLAB file, which needs scipy; run: pip install scipy") from error
    try:
        found: Mapping[str, Any] = loadmat(str(path), variable_names=list(names))
    except Exception as error:  # of foreign bytes scipy raises whatever its next step does: IndexError, zlib.error ...
        raise InputError(f"{path} cannot be read as a MATLAB file ({one_line(error)}); download it again") from error
    return found


def variable(path: Path, names: Sequence[str]) -> tuple[str, np.ndarray]:
    """The first of `names` that a file of either kind has, and its array, as h5py or scipy gives it."""
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    found = Hdf5(path).file if hdf5().is_hdf5(path) else old_variables(path, names)
    for name in names:
        if name in found:
            return name, np.asarray(found[name])
    raise InputError(f"{path} has no variable {' or '.join(names)}")


def one_line(error: BaseException) -> str:
    """The error's words on one line of at most 120 characters; its class's name where it has none."""
    return " ".join(str(error).split())[:120] or type(error).__name__
