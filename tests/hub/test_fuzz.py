"""Fuzzing of config, record, safetensors header: a fault is one line, never a traceback, a hang or much memory."""

from __future__ import annotations

import copy
import json
import os
import resource
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusionzoo import files
from fusionzoo.errors import FusionZooError
from fusionzoo.hub.expect import expected
from fusionzoo.hub.records import Record
from fusionzoo.hub.verification import inspect
from fusionzoo.models import FusionModel

EXAMPLES = int(os.environ.get("FUSIONZOO_FUZZ", "0"))
"""How many random examples a test tries; by default the same 60 each time."""

BOUNDED = settings(
    max_examples=EXAMPLES or 60,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

leaf = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-2, 300),
    st.floats(allow_nan=False),
    st.text(max_size=12),
    st.sampled_from(["concat", "gate", "fpn", "unet", "mobilenetv1-025", "resnet18", "../x", "tu-", "depth", "\x00"]),
)
values = st.recursive(
    leaf,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(p for key, inner in items for p in paths(inner, (*at, key)))]


def mutate(data: st.DataObject, whole: Any) -> Any:
    """`whole` with one to three places replaced, removed or joined by a new key."""
    out = copy.deepcopy(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(paths(out)))
        value = data.draw(values)
        if not place:
            return value if data.draw(st.integers(0, 9)) == 0 else out
        at = out
        for key in place[:-1]:
            at = at[key]
        action = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "replace":
            at[place[-1]] = value
        elif action == "remove":
            del at[place[-1]]
        elif isinstance(at, dict):
            at[data.draw(st.text(max_size=8))] = value
    return out


@BOUNDED
@given(data=st.data())
def test_configs(model: FusionModel, data: st.DataObject) -> None:
    config = mutate(data, json.loads(json.dumps(model.config())))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        expected(config)
    except FusionZooError as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 2000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024


@BOUNDED
@given(data=st.data())
def test_records(saved: dict[str, bytes], data: st.DataObject) -> None:
    try:
        record = Record.from_dict(mutate(data, json.loads(saved["record.json"])))
    except FusionZooError as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 2000
    else:
        assert Record.from_dict(record.to_dict()) == record


@BOUNDED
@given(data=st.binary(max_size=200))
def test_bytes_as_json(data: bytes) -> None:
    try:
        assert isinstance(files.parse_json(data, "x"), dict)
    except FusionZooError as error:
        assert "\n" not in str(error)


@BOUNDED
@given(data=st.data())
def test_headers(saved: dict[str, bytes], tmp_path: Path, data: st.DataObject) -> None:
    """A mutated header, with the folder's other files whole: some check fails, or the file is as good as before."""
    weights = saved["model.safetensors"]
    length = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + length])
    keys = data.draw(st.lists(st.sampled_from(sorted(header)), min_size=1, max_size=2))
    part = mutate(data, {k: header[k] for k in keys})
    text = json.dumps(
        {**{k: v for k, v in header.items() if k not in keys}, **part} if isinstance(part, dict) else part
    ).encode()
    stated = data.draw(st.sampled_from([len(text), len(text) - 1, 0, 2**63, len(text) + 8]))
    (tmp_path / "config.json").write_bytes(saved["config.json"])
    (tmp_path / "model.safetensors").write_bytes(stated.to_bytes(8, "little") + text + weights[8 + length :])
    done, model = inspect(tmp_path, quick=True)
    assert (model is not None) == done.ok
    assert all("\n" not in c["detail"] and len(c["detail"]) < 600 for c in done)
