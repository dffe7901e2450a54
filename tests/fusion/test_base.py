"""What every strategy's block takes."""

from __future__ import annotations

import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.fusion import Fused, FusionBlock
from fusionzoo.registry import fusions


@pytest.mark.parametrize("name", list(fusions))
def test_maps_that_no_block_fuses_are_named(name: str) -> None:
    block = fusions.get(name)(32).eval()
    good = torch.randn(2, 32, 8, 8)
    for rgb, x in (
        (torch.randn(2, 16, 8, 8), torch.randn(2, 16, 8, 8)),
        (good, torch.randn(2, 32, 4, 4)),
        (good, torch.randn(1, 32, 8, 8)),
        (good[0], good[0]),
    ):
        said = rf"^{type(block).__name__} fuses two maps \(B, 32, H, W\) of one size; rgb is \({rgb.shape[0]}, "
        with pytest.raises(InputError, match=said):
            block(rgb, x)
    with torch.no_grad():
        assert block(good, good).fused.shape == good.shape


class Returns(FusionBlock):
    """Gives what its `make` makes of the inputs."""

    make = staticmethod(lambda rgb, x: rgb + x)

    def fuse(self, rgb: torch.Tensor, x: torch.Tensor) -> Fused:
        return self.make(rgb, x)


def test_what_fuse_returns_is_checked() -> None:
    """A plain tensor would be unpacked along its batch, of three images without a word."""
    maps = torch.randn(3, 8, 2, 2), torch.randn(3, 8, 2, 2)
    block = Returns(8)
    with pytest.raises(
        InputError, match=r"^Returns.fuse gives a Tensor; wanted Fused\(rgb, x, fused\), each \(3, 8, 2, 2"
    ):
        block(*maps)
    block.make = lambda rgb, x: Fused(rgb, x, torch.cat([rgb, x], 1))
    with pytest.raises(
        InputError, match=r"fuse gives \[\(3, 8, 2, 2\), \(3, 8, 2, 2\), \(3, 16, 2, 2\)\]; wanted Fused"
    ):
        block(*maps)
    block.make = lambda rgb, x: None
    with pytest.raises(InputError, match="fuse gives a NoneType; wanted Fused"):
        block(*maps)
    block.make = lambda rgb, x: (rgb, x, rgb - x)
    assert torch.equal(block(*maps).fused, maps[0] - maps[1])
