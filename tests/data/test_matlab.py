"""Old MATLAB files: what scipy wrote is read; bytes that are none, however they fail in scipy, are one line."""

import io
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from fusionzoo.data.matlab import old_variables
from fusionzoo.errors import InputError


def written(compressed: bool) -> bytes:
    file = io.BytesIO()
    savemat(file, {"kept": np.arange(50), "other": np.ones(3)}, do_compression=compressed)
    return file.getvalue()


def with_byte(content: bytes, at: int, value: int) -> bytes:
    return content[:at] + bytes([value]) + content[at + 1 :]


@pytest.mark.parametrize("compressed", [False, True])
def test_the_variables_asked_for(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(written(compressed))
    found = old_variables(path, ["kept", "missing"])
    assert np.ravel(found["kept"]).tolist() == list(range(50))
    assert "other" not in found and "missing" not in found


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nothing of the kind",
        b"\x01" * 130,
        b"MATLAB 5.0 MAT-file".ljust(128),
        written(True)[:150],
        written(False)[:200],
        with_byte(written(True), 150, 7),
        with_byte(written(False), 128, 99),
    ],
    ids=["empty", "text", "ones", "header", "cut-compressed", "cut", "bad-zlib", "bad-type"],
)
def test_bytes_that_are_no_matlab_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mat cannot be read as a MATLAB file \(.+\); download it again") as error:
        old_variables(path, ["kept"])
    assert "\n" not in str(error.value)
