"""Errors: exit status, bases, and texts that end the search."""

from __future__ import annotations

import pytest

from fusionzoo.errors import CheckFailed, FusionZooError, InputError, UnknownNameError, closest, unknown


@pytest.mark.parametrize(
    ("kind", "status", "base"),
    [(InputError, 2, ValueError), (UnknownNameError, 2, KeyError), (CheckFailed, 1, ValueError)],
)
def test_exit_status_and_bases(kind, status, base):
    error = kind("one clear line")
    assert error.exit_status == status
    assert isinstance(error, FusionZooError) and isinstance(error, base)
    assert str(error) == "one clear line"  # a KeyError would show quotes


def test_the_closest_come_first_and_strangers_not_at_all():
    assert closest("resnet51", ["vgg", "resnet50", "resnet18", "mit"])[0] == "resnet50"
    assert closest("zzzz", ["vgg", "resnet50"]) == []
    assert len(closest("resnet", [f"resnet{i}" for i in range(9)], 2)) == 2


def test_unknown_names_choices_and_next_command():
    assert str(unknown("class", "chiar", ["table", "chair"], "fusionzoo info")) == (
        "unknown class 'chiar'; did you mean 'chair'? (see: fusionzoo info)"
    )
    assert str(unknown("class", "zzzz", ["table", "chair"])) == "unknown class 'zzzz'; known: table, chair"
    assert str(unknown("class", "zzzz", [f"thing{i}" for i in range(21)])) == "unknown class 'zzzz'"
    assert str(unknown("class", "a", iter(()))) == "unknown class 'a'"


def test_a_text_is_one_line_whatever_is_in_a_name():
    assert str(InputError("a\nb\x1b[31m\u2028c")) == "a b [31m c"
    assert str(unknown("class", "a\nb", [])) == "unknown class 'a\\nb'"
