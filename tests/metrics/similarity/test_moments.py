"""Second moments against sums over the data itself."""

from __future__ import annotations

import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.metrics import Moments


def test_centred_moments_are_sums_over_the_centred_data() -> None:
    g = torch.Generator().manual_seed(0)
    sets = [torch.randn(30, c, generator=g).double() * (c + 1) + 5 * c for c in (3, 1, 4)]
    sets[0][:4] += 50  # the first batch, which gives the shift, is no typical one
    one, two = Moments(("a", "b", "c")), Moments(("a", "b", "c"))
    for i, part in enumerate(zip(*(s.split(4) for s in sets), strict=True)):
        (one if i % 2 else two).update(*part)
    moments = one.merge(two).centred()
    joined = torch.cat(sets, 1)
    z = joined - joined.mean(0)
    r = torch.stack([z[:, s].square().sum(1) for s in (slice(0, 3), slice(3, 4), slice(4, 8))], 1)
    close = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-9)  # noqa: E731
    close(moments.mean, joined.mean(0))
    close(moments.gram, z.T @ z)
    close(moments.norm, r.sum(0))
    close(moments.cross, z.T @ r)
    close(moments.quad, r.T @ r)
    close(moments.block("c", 0), z[:, 4:].T @ z[:, :3])
    assert moments.n == 30 and moments.slices == (slice(0, 3), slice(3, 4), slice(4, 8))


def test_large_batches_go_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    from fusionzoo.metrics.similarity import moments as module

    x, y = torch.randn(50, 3), torch.randn(50, 2)
    whole, sliced = Moments(2), Moments(2)
    whole.update(x, y)
    monkeypatch.setattr(module, "CHUNK", 35)  # seven rows at a time
    sliced.update(x, y)
    torch.testing.assert_close(sliced.centred().quad, whole.centred().quad, rtol=1e-12, atol=1e-12)
    assert sliced.n == 50


def test_wrong_use() -> None:
    with pytest.raises(InputError, match="one or more different names"):
        Moments(("a", "a"))
    with pytest.raises(InputError, match="no samples yet"):
        Moments(2).centred()
    with pytest.raises(InputError, match=r"expected 2 features \(0, 1\), got 1"):
        Moments(2).update(torch.randn(3, 2))
