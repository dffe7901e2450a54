"""Dataclasses <-> JSON: every kind of field both ways, and what is refused, by its place."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from fusionzoo.errors import InputError
from fusionzoo.schema import decode, encode, need, schema_of, versioned


@dataclass
class Part:
    size: tuple[int, int]
    share: float | None = None


@dataclass
class Whole:
    name: str
    parts: list[Part]
    by_name: dict[str, Part] = field(default_factory=dict)
    numbers: tuple[float, ...] = ()
    flag: bool = False
    free: Any = None
    format_version: int = 1

    def __post_init__(self) -> None:
        need(self.name != "bad", "a bad name")


WHOLE = Whole("a", [Part((1, 2), 0.5)], {"b": Part((3, 4))}, (1.0, 2.5), True, {"any": [1]})
VALUES: dict[str, Any] = {
    "name": "a",
    "parts": [{"size": [1, 2], "share": 0.5}],
    "by_name": {"b": {"size": [3, 4], "share": None}},
    "numbers": [1.0, 2.5],
    "flag": True,
    "free": {"any": [1]},
    "format_version": 1,
}


def test_every_kind_of_field_both_ways() -> None:
    assert encode(WHOLE) == VALUES and decode(Whole, VALUES, "x") == WHOLE
    assert decode(Whole, json.loads(json.dumps(VALUES)), "x") == WHOLE
    small = {"name": "", "parts": [], "flag": False, "format_version": 1}
    assert encode(Whole("", []), drop_empty=True) == small and decode(Whole, small, "x") == Whole("", [])


def test_what_has_no_json_form() -> None:
    assert encode({1: [math.nan, -math.inf, 2.0]}, nan_to_none=True) == {"1": [None, None, 2.0]}
    assert math.isnan(encode([math.nan])[0])
    with pytest.raises(TypeError, match="no JSON form"):
        encode({"a": {1, 2}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nane": "a"}, r"^x: unknown field 'nane'; did you mean 'name'\?$"),
        ({"zzzzzz": "a"}, r"^x: unknown field 'zzzzzz'; known: name, parts"),
        ({"name": 1}, "^x: name is 1, wanted str$"),
        ({"name": None}, "^x: name is None, wanted str$"),
        ({"flag": 1}, "^x: flag is 1, wanted bool$"),
        ({"format_version": True}, "wanted int"),
        ({"numbers": [1, "2"]}, r"^x: numbers\[1\] is '2', wanted float$"),
        ({"numbers": [True]}, "wanted float"),
        ({"numbers": [math.nan]}, "wanted float"),
        ({"numbers": 1}, "wanted a list"),
        ({"parts": [{"size": [1]}]}, r"^x: parts\[0\]: size is \[1\], wanted a list of 2, \[int, int\]$"),
        ({"parts": [{}]}, r"^x: parts\[0\]: field 'size' is missing$"),
        ({"by_name": {"k": []}}, r"^x: by_name\['k'\] is a list, wanted an object$"),
        ({"name": "bad"}, "^x: a bad name$"),
    ],
)
def test_what_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        decode(Whole, {**VALUES, **change}, "x")


def test_versions() -> None:
    assert versioned(Whole, VALUES, "x", 1) == WHOLE
    for values in ({**VALUES, "format_version": 2}, {"name": "a"}, []):
        with pytest.raises(InputError, match="x: format_version is (2|None), this fusionzoo reads 1"):
            versioned(Whole, values, "x", 1)


def test_schema_names_types_and_required_fields() -> None:
    found = schema_of(Whole)
    assert found["required"] == ["name", "parts"] and found["additionalProperties"] is False
    assert found["properties"]["numbers"] == {"type": "array", "items": {"type": "number"}}
    assert found["properties"]["flag"] == {"type": "boolean"} and found["properties"]["free"] == {}
    size = found["properties"]["parts"]["items"]["properties"]["size"]
    assert size == {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
