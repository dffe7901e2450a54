"""The sum against the equation."""

from __future__ import annotations

from fusionzoo.fusion.sum import Sum
from tests.fusion.plain import compare


def test_sum_equals_its_equation_and_keeps_the_streams() -> None:
    compare(Sum(8), lambda p, rgb, x: {"fused": rgb + x})
