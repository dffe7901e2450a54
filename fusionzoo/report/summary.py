"""One row about a checkpoint from its record: its data, its mIoU with both modalities and without either.

A record states up to three metrics for one data set and split: protocol P (both modalities), `P; without rgb` and
`P; without x`. The first metric without such an ending is the headline. Takes the record's dictionary, needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusionzoo.errors import InputError
from fusionzoo.hub.markdown import grid
from fusionzoo.tasks import unstored

__all__ = ["BEGIN", "END", "WITHOUT_RGB", "WITHOUT_X", "readme", "scores", "summary"]

WITHOUT_RGB = "; without rgb"
WITHOUT_X = "; without x"
BEGIN, END = "<!-- checkpoints: begin -->", "<!-- checkpoints: end -->"
"""The generated table of the README lies between these two lines."""


def scores(record: Mapping[str, Any]) -> dict[str, Any]:
    """The headline metric and the two that belong to it: {"data", "split", "protocol", "both", "no_rgb", "no_x"}.

    mIoU as fractions; None where the record does not state it.
    """
    metrics = unstored(record.get("metrics", []))
    main = next((m for m in metrics if not m["protocol"].endswith((WITHOUT_RGB, WITHOUT_X))), None)
    data, split, protocol = ("" if main is None else main[key] for key in ("data", "split", "protocol"))
    miou = {m["protocol"]: m["miou"] for m in reversed(metrics) if (m["data"], m["split"]) == (data, split)}
    without = {"no_rgb": miou.get(protocol + WITHOUT_RGB), "no_x": miou.get(protocol + WITHOUT_X)}
    return {"data": data, "split": split, "protocol": protocol, "both": miou.get(protocol), **without}


def summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """The row of `fusionzoo list`: mIoU in points, size in megabytes (10^6 bytes).

    >>> record = {"name": "sum_a_b.t", "files": {"model.safetensors": {"size": 2500000}}, "metrics": [
    ...     {"data": "planted", "split": "test", "protocol": "single scale", "miou": 0.612},
    ...     {"data": "planted", "split": "test", "protocol": "single scale; without x", "miou": 0.4}]}
    >>> row = summary(record)
    >>> row["mIoU"], row["without rgb"], row["without x"], row["MB"]
    (61.2, None, 40.0, 2.5)
    """
    found = scores(record)
    points = {key: None if found[key] is None else round(100 * found[key], 1) for key in ("both", "no_rgb", "no_x")}
    return {
        "checkpoint": record["name"],
        "data": " ".join(part for part in (found["data"], found["split"]) if part),
        "mIoU": points["both"],
        "without rgb": points["no_rgb"],
        "without x": points["no_x"],
        "protocol": found["protocol"],
        "MB": round(sum(f["size"] for f in record.get("files", {}).values()) / 1e6, 1),
    }


def readme(text: str, records: Mapping[str, Mapping[str, Any]]) -> str:
    """README `text` with the table of checkpoints between its markers made anew from the records.

    Raises:
        InputError: a marker is missing.
    """
    start, stop = text.find(BEGIN), text.find(END)
    if start < 0 or stop < start:
        raise InputError(f"README.md lacks the lines {BEGIN} and {END}")
    rows = []
    for record in records.values():
        row = summary(record)
        shown = ["-" if row[k] is None else f"{row[k]:.1f}" for k in ("mIoU", "without rgb", "without x")]
        rows.append([row["checkpoint"], row["data"], *shown, row["protocol"], f"{row['MB']:.1f} MB"])
    columns = ["checkpoint", "data", "mIoU", "without rgb", "without depth", "protocol", "size"]
    table = grid(columns, rows, "<<>>><>") if rows else "None in this version.\n"
    return text[: start + len(BEGIN)] + "\n" + table + text[stop:]
