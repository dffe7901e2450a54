"""Addition into the RGB stream, as in FuseNet, RedNet and RTFNet."""

from __future__ import annotations

import pytest

from fusionzoo.fusion.addition import FuseNet, RedNet, RTFNet
from fusionzoo.fusion.base import FusionBlock
from tests.fusion.plain import compare


@pytest.mark.parametrize("kind", [FuseNet, RedNet, RTFNet])
def test_rgb_carries_on_with_the_sum_and_x_stays_pure(kind: type[FusionBlock]) -> None:
    compare(kind(8), lambda p, rgb, x: {"rgb": rgb + x, "x": x, "fused": rgb + x})
