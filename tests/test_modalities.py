"""x of several modalities: each of them is treated as it would be alone."""

from __future__ import annotations

import math

import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.modalities import parts_of, split
from fusionzoo.preprocess import Preprocess, missing_x, validate_x

KIND = "depth+hha+thermal"
SINGLE = {
    "depth": Preprocess(x_mean=(2.0,), x_std=(0.5,), x_quantiles=(1, 1.5, 2, 2.5, 3), x_missing=(0.1, 0.2)),
    "hha": Preprocess(x_kind="hha", x_mean=(10, 20, 30), x_std=(1, 2, 3)),
    "thermal": Preprocess(x_kind="thermal", x_mean=(100.0,), x_std=(50.0,)),
}
JOINED = Preprocess(x_kind=KIND, x_mean=(2, 10, 20, 30, 100), x_std=(0.5, 1, 2, 3, 50))


def images() -> torch.Tensor:
    """Raw x (2, 5, 4, 6) with a hole of each sort in depth and in thermal."""
    x = torch.rand(2, 5, 4, 6, generator=torch.Generator().manual_seed(0)) + 1
    x[0, 0, 0, 0], x[0, 0, 1, 1], x[1, 4, 2, 2] = 0.0, math.nan, math.inf
    x[1, 4, 0, 0] = 0.0  # a value in thermal
    return x


def test_channels_are_those_of_the_kinds() -> None:
    assert [(p.name, p.start, p.stop) for p in parts_of(KIND, 5)] == [("depth", 0, 1), ("hha", 1, 4), ("thermal", 4, 5)]
    x = images()
    assert torch.equal(torch.cat([own for _, own in split(x, KIND)], 1).nan_to_num(), x.nan_to_num())
    with pytest.raises(InputError, match=r"has 5 channels \(depth 1, hha 3, thermal 1\), not 4"):
        parts_of(KIND, 4)


def test_each_modality_is_normalised_as_it_is_alone() -> None:
    x, at = images(), {"depth": slice(0, 1), "hha": slice(1, 4), "thermal": slice(4, 5)}
    out, holes = JOINED.x(x), missing_x(x, KIND)
    for name, alone in SINGLE.items():
        torch.testing.assert_close(out[:, at[name]], alone.x(x[:, at[name]]))
        assert torch.equal(holes[:, at[name]], missing_x(x[:, at[name]], name))
        assert JOINED.parts()[name].x_mean == alone.x_mean
    assert int(holes.sum()) == 3
    both = Preprocess(x_kind="inverse_depth+thermal", x_mean=(0.25, 100), x_std=(0.125, 50))
    x = torch.tensor([4.0, 0.0]).view(2, 1, 1)
    assert both.x(x).flatten().tolist() == [0.0, -2.0]  # 1/4 m is the mean; thermal is not inverted


def test_what_the_weights_saw_is_kept_for_each() -> None:
    seen = Preprocess(
        x_kind="depth+thermal", x_mean=(2, 100), x_std=(1, 50),
        x_quantiles=(1, 1.5, 2, 2.5, 3, 20, 60, 100, 140, 200), x_missing=(0.1, 0.2, 0.0, 0.0),
    )  # fmt: skip
    assert Preprocess.from_dict(seen.to_dict()) == seen
    x = torch.tensor([2.0, 110.0]).view(2, 1, 1).expand(2, 4, 4).clone()
    assert seen.unlike(x) is None
    x[1] = 2000.0
    assert str(seen.unlike(x)).startswith("thermal of 2e+03")
    with pytest.raises(InputError, match="rising"):
        Preprocess(x_kind="depth+thermal", x_mean=(2, 1), x_std=(1, 1), x_quantiles=(1, 2, 3, 4, 5))


def test_a_modality_that_is_missing_everywhere_is_named() -> None:
    x = images()[0]
    x[0] = 0.0
    with pytest.raises(InputError, match="a.png, depth: depth is zero everywhere"):
        validate_x(x, KIND, "a.png")


@pytest.mark.parametrize(("kind", "said"), [("depth+termal", "mean 'thermal'"), ("depth+inverse_depth", "twice")])
def test_kinds_that_cannot_be(kind: str, said: str) -> None:
    with pytest.raises((InputError, LookupError), match=said):
        Preprocess.of(kind)
