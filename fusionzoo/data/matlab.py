"""MATLAB files of data sets: version 7.3 (HDF5) through h5py, older ones through scipy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusionzoo.errors import InputError

__all__ = ["hdf5", "old_variables", "one_line"]


def hdf5() -> Any:
    """The module h5py. Raises InputError where it is not installed."""
    try:
        import h5py
    except ImportError as error:
        raise InputError("MATLAB 7.3 (HDF5) files need h5py; run: pip install h5py") from error
    return h5py


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


def one_line(error: BaseException) -> str:
    """The error's words on one line of at most 120 characters; its class's name where it has none."""
    return " ".join(str(error).split())[:120] or type(error).__name__
