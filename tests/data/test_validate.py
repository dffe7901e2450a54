"""Images without any x: found, named, left out or kept; labels that count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fusionzoo.data import as_kind, parse_spec
from fusionzoo.data.validate import checked, has_labels, no_x, sorted_out, without_x
from fusionzoo.errors import InputError
from tests.train.rooms import rooms

NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([0.0, NAN], "depth", True), ([0.0, 2.0], "depth", False), ([0.0, float("inf")], "inverse_depth", True),
        ([0.0, 0.0], "hha", True), ([0.0, 9.0], "hha", False), ([NAN, NAN], "thermal", True),
        ([NAN, 7.0], "grey", False),
    ],
)  # fmt: skip
def test_x_that_says_nothing(values: list[float], kind: str, expected: bool) -> None:
    assert no_x(torch.tensor(values).view(1, 1, 2), kind) is expected


def blank(*which: int):
    return lambda i, mm: mm.astype(np.uint16) * (i not in which)


def test_left_out_kept_or_refused(tmp_path: Path) -> None:
    data = parse_spec(rooms(tmp_path, val=5, depth=blank(5, 8)), split="val", empty_depth="keep")
    empty = without_x(data)
    assert empty == [1, 4]
    said = r"2 of 5 val images have no valid depth in any pixel \(005, 008\)"
    with pytest.raises(InputError, match=f"{said}; --empty skip leaves them out, --empty keep uses their rgb"):
        sorted_out(data, empty, "refuse")
    less, note = sorted_out(data, empty, "skip")
    assert less.ids == [less[i]["id"] for i in range(len(less))] == ["004", "006", "007"]
    assert note == said.replace("\\", "") + ": left out"
    assert less.describe()["n"] == 3 and less.describe() != data.describe() and less.class_names == data.class_names
    kept, note = sorted_out(data, empty, "keep", "validation")
    assert len(kept) == 5 and "2 of 5 validation images" in note and note.endswith("kept, their x counts as absent")
    assert checked(kept[1], kept)["id"] == "005"
    assert sorted_out(data, [], "skip") == (data, "")
    with pytest.raises(InputError, match="none is left"):
        sorted_out(data, range(5), "skip")
    with pytest.raises(InputError, match="empty is 'drop'; give refuse, skip, keep"):
        sorted_out(data, [], "drop")


def test_kept_images_as_the_kind_of_the_model(tmp_path: Path) -> None:
    data = parse_spec(rooms(tmp_path, depth=blank(5)), split="val", empty_depth="keep")
    grey = as_kind(sorted_out(data, without_x(data), "keep")[0], "grey")
    assert grey[1]["x"].isnan().all() and not grey[0]["x"].isnan().any() and without_x(grey) == [1]
    assert "005" in grey.empty_note


def test_labels_that_count(tmp_path: Path) -> None:
    spec = rooms(tmp_path, unlabelled=(0, 4, 5))
    assert has_labels(parse_spec(spec, split="train")) and not has_labels(parse_spec(spec, split="val"))
