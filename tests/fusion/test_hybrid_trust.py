"""The hybrid by trust against its equations, in NumPy, with each term left out, and at its bounds."""

from __future__ import annotations

import pickle
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.fusion.hybrid_trust import HybridTrust
from fusionzoo.probes.point import probe_points
from tests.fusion.plain import Array, batch_norm, compare, conv, conv1, relu, softmax
from tests.fusion.test_hybrid import correlation
from tests.fusion.test_hybrid_exchange import given

TERMS = ("trust", "agreement", "product", "consistent", "private", "exchange", "supervise")
SHARED = {"shared_rgb", "shared_x", "trust", "agreement", "consistent"}
PRIVATE = {"specific_rgb", "specific_x", "product"}


def evidence(n: Array, p: Mapping[str, Array], name: str) -> Array:
    hidden = relu(conv1(n, p, f"{name}.0"))
    return conv1(relu(conv(hidden, p, f"{name}.2", groups=hidden.shape[1])), p, f"{name}.4")


def cosine(u: Array, v: Array) -> Array:
    return (u * v).sum(1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1))


@pytest.mark.parametrize("without", ["", *TERMS])
def test_it_equals_its_equations(without: str) -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        n_rgb, n_x = batch_norm(rgb, p, "norm_rgb"), batch_norm(x, p, "norm_x")
        shared: dict[str, Array] = {}
        if without != "consistent":
            s_rgb, s_x = conv1(n_rgb, p, "share"), conv1(n_x, p, "share")
            t = np.full((2, 2, *rgb.shape[2:]), 0.5)
            if without != "trust":
                t = softmax(np.concatenate([evidence(n_rgb, p, "trust_rgb"), evidence(n_x, p, "trust_x")], 1), axis=1)
            a = (1 + (0 if without == "agreement" else cosine(s_rgb, s_x)[:, None])) / 2 * np.ones_like(t[:, :1])
            c = 2 * a * (t[:, :1] * s_rgb + t[:, 1:] * s_x)
            shared = {"shared_rgb": s_rgb, "shared_x": s_x, "trust": t, "agreement": a, "consistent": c}
        own: dict[str, Array] = {}
        streams = {"rgb": rgb, "x": x}
        if without != "private":
            p_rgb, p_x = conv1(n_rgb, p, "specify_rgb"), conv1(n_x, p, "specify_x")
            own = {"specific_rgb": p_rgb, "specific_x": p_x}
            if without != "product":
                own["product"] = conv1(p_rgb, p, "factor_rgb") * conv1(p_x, p, "factor_x")
            if without != "exchange":
                streams = {"rgb": rgb + given(p_x, p, "give_x"), "x": x + given(p_rgb, p, "give_rgb")}
        parts = [*([shared["consistent"]] if shared else []), *own.values()]
        fused = relu(batch_norm(conv1(np.concatenate(parts, 1), p, "join"), p, "norm"))
        return {**shared, **own, "fused": fused, **streams}

    def losses(p: Mapping[str, Array], v: Mapping[str, Array]) -> dict[str, float]:
        out = {}
        if without != "consistent":
            weight = v["trust"][:, 0] * v["trust"][:, 1]
            out["consistency"] = float(np.average(1 - cosine(v["shared_rgb"], v["shared_x"]), weights=weight))
        if without == "consistent":
            out["decorrelation"] = correlation(v["specific_rgb"], v["specific_x"])
        elif without != "private":
            pairs = ("specific_rgb", "shared_rgb"), ("specific_x", "shared_x"), ("specific_rgb", "specific_x")
            out["decorrelation"] = float(np.mean([correlation(v[one], v[two]) for one, two in pairs]))
        return out

    options = {without: False} if without else {}
    block = HybridTrust(16, **options)
    compare(block, equations, None if without == "supervise" else losses)
    gone = {"consistent": SHARED, "private": PRIVATE, "product": {"product"}}.get(without, set())
    assert (SHARED | PRIVATE) - set(probe_points(block)) == gone
    told = {"supervise": set(), "consistent": {"decorrelation"}, "private": {"consistency"}}
    assert set(block.loss_factors) == told.get(without, {"consistency", "decorrelation"})
    assert set(block.loss_probes) <= set(probe_points(block))
    pickle.dumps(block)


@pytest.mark.parametrize(
    ("without", "wanted"),
    [
        ("", 4.25 * 32**2 + 23 * 32 + 192),
        ("trust", 4.25 * 32**2 + 7 * 32),
        ("product", 3.75 * 32**2 + 23 * 32 + 192),  # factors 2 (C/2)(C/4), their C/4 maps into the join
        ("exchange", 3.5 * 32**2 + 22 * 32 + 192),  # down 2 (C/2)(C/4), up 2 (C/4) C, norms 2 (C/4) 2
        ("consistent", 3.25 * 32**2 + 7 * 32),
        ("private", 32**2 + 22 * 32 + 192),
    ],
)
def test_what_is_left_out_has_no_parameters(without: str, wanted: float) -> None:
    block = HybridTrust(32, **({without: False} if without else {}))
    assert sum(p.numel() for p in block.parameters()) == wanted


def test_by_hand_without_the_consistent_part_and_without_the_private_ones() -> None:
    """One position, normalisation of 1, all weights 1 where not said: sums that can be made in the head."""
    rgb, x = torch.tensor([1.0, 2, 3, 4]).reshape(1, 4, 1, 1), torch.tensor([1.0, 0, -1, 1]).reshape(1, 4, 1, 1)
    for options, wanted in (
        # p_rgb = 10 and p_x = 1 in each of 4 channels; q = (4 * 10) (4 * 1) in each of 4: 40 + 4 + 4 * 160
        ({"consistent": False}, 684.0),
        ({"consistent": False, "product": False}, 44.0),
        # candidates 10 and 1 in each of 4 channels: cosine 1, agreement 1, trust 1/2 each: c = 2 (5 + 0.5), four times
        ({"private": False}, 44.0),
        ({"private": False, "agreement": False}, 22.0),
    ):
        block = HybridTrust(4, exchange=False, **options).eval()
        for name, value in block.named_parameters():
            value.data.fill_(0.0 if name.endswith("bias") or name.startswith("trust") else 1.0)
        for norm in (block.norm_rgb, block.norm_x, block.norm):
            norm.eps = 0.0
        with torch.no_grad():
            out = block(rgb, x)
        assert torch.allclose(out.fused, torch.full_like(out.fused, wanted)), options
        assert torch.equal(out.rgb, rgb) and torch.equal(out.x, x)


def test_the_absent_part_cannot_be_asked_for() -> None:
    assert not hasattr(HybridTrust(16, consistent=False), "share")
    alone = HybridTrust(16, private=False)
    assert not hasattr(alone, "specify_rgb") and alone.give_rgb is None and alone.factor_rgb is None
    with pytest.raises(InputError, match="consistent and private cannot both be false"):
        HybridTrust(16, consistent=False, private=False)


def test_a_former_checkpoint_loads_and_a_seed_draws_the_same_weights() -> None:
    """The names and the order in which numbers are drawn are what they were before the options."""
    names = [
        *(f"norm_{m}" for m in ("rgb", "x")), "share", "specify_rgb", "specify_x",
        *(f"trust_{m}.{i}" for m in ("rgb", "x") for i in (0, 2, 4)), "factor_rgb", "factor_x", "join", "norm",
        *(f"give_{m}.{part}" for m in ("rgb", "x") for part in ("narrow", "norm", "widen")),
    ]  # fmt: skip
    assert list(dict.fromkeys(n.rpartition(".")[0] for n in HybridTrust(16).state_dict())) == names


def test_agreement_weighs_the_consistent_part_from_nothing_to_twice() -> None:
    """Equal candidates count twice their mean, opposite ones nothing, orthogonal ones once."""
    block = HybridTrust(16, trust=False).eval()
    rgb = torch.randn(2, 16, 3, 4, generator=torch.Generator().manual_seed(1))
    for sign, wanted in ((1, 1.0), (-1, 0.0)):
        seen: dict[str, torch.Tensor] = {}
        block.agreement.tap = lambda v, seen=seen: seen.setdefault("a", v)  # type: ignore[assignment]
        block.consistent.tap = lambda v, seen=seen: seen.setdefault("c", v)  # type: ignore[assignment]
        block.shared_rgb.tap = lambda v, seen=seen: seen.setdefault("s", v)  # type: ignore[assignment]
        with torch.no_grad():
            block(rgb, sign * rgb)
        assert torch.allclose(seen["a"], torch.full_like(seen["a"], wanted), atol=1e-4)
        assert torch.allclose(seen["c"], 2 * wanted * seen["s"] * (1 if sign == 1 else 0), atol=1e-3)


@pytest.mark.parametrize("channels", [64, 128, 320, 512])
def test_it_costs_a_tenth_of_cmx(channels: int) -> None:
    from fusionzoo.fusion.cmx import CMX

    with torch.device("meta"):
        ours, theirs = (sum(p.numel() for p in kind(channels).parameters()) for kind in (HybridTrust, CMX))
    assert ours < 0.11 * theirs
