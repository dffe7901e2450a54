"""What every registered strategy keeps: declared ranges and invariants, informative gates, gradients, round trips."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import fusionzoo.fusion  # noqa: F401  fills the registry
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe, probe_points
from fusionzoo.registry import fusions
from tests.compare import SAME, distance, off_zero
from tests.declared import check_declaration

NAMES = fusions.names()
CHANNELS, SIZE = 32, (9, 10)
SIZES = {"B": 3, "H": SIZE[0], "W": SIZE[1], "HW": SIZE[0] * SIZE[1]}
FAMILIES = {"concat", "attention", "cross-modal", "exchange", "hybrid"}
OURS = {"concat", "cross_attention", "gate", "hybrid", "hybrid_exchange", "hybrid_trust", "sum"}
"""Strategies without a published original: they need no paper."""


def make(name: str, seed: int = 0, level: int = 2) -> FusionBlock:
    torch.manual_seed(seed)
    return off_zero(fusions.get(name)(CHANNELS, level=level))


def inputs(seed: int = 1, scale: float = 1.0, batch: int = 3) -> tuple[Tensor, Tensor]:
    """Independent normal values of variance scale^2."""
    generator = torch.Generator().manual_seed(seed)
    rgb, x = torch.randn(2, batch, CHANNELS, *SIZE, generator=generator) * scale
    return rgb, x


def watch(block: FusionBlock) -> dict[str, list[Tensor]]:
    """name -> every value that passes that probe from now on."""
    seen: dict[str, list[Tensor]] = {name: [] for name in probe_points(block)}

    def keep(values: list[Tensor]):
        def tap(value: Tensor) -> Tensor:
            values.append(value)
            return value

        return tap

    for name, point in probe_points(block).items():
        point.tap = keep(seen[name])
    return seen


def run(block: FusionBlock, rgb: Tensor, x: Tensor) -> Fused:
    with torch.no_grad():
        return block.eval()(rgb, x)


def test_expected_names_are_registered() -> None:
    wanted = """acnet asymformer attention_fusion cddfuse channel_exchange cmnext cmx concat cross_attention dformer
        dformerv2 eaef emsaformer film fusenet gate gemini hdbformer hybrid hybrid_exchange hybrid_trust
        low_rank_tensor mfnet mmsformer prompt rednet rtfnet sagate se_add se_add_uni_rgb shapeconv shaspec sigma spnet
        sum token_exchange tuni xmsnet"""
    assert set(wanted.split()) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_description(name: str) -> None:
    kind = fusions.get(name)
    assert kind.family in FAMILIES
    assert kind.interaction in {"none", "inject", "exchange"}
    assert kind.licence.startswith("MIT (ours")
    assert kind.paper or name in OURS
    for point_name, point in probe_points(make(name)).items():
        assert point.role and point.meaning, point_name
        assert point.modality in {"rgb", "x", "fused", ""}, point_name
    assert {"rgb_in", "x_in", "rgb_out", "x_out", "fused"} <= set(probe_points(make(name)))


@pytest.mark.parametrize("scale", [1.0, 10.0])
@pytest.mark.parametrize("name", NAMES)
def test_declared_ranges_and_invariants(name: str, scale: float) -> None:
    block = make(name)
    seen = watch(block)
    run(block, *inputs(scale=scale))
    for point_name, point in probe_points(block).items():
        assert seen[point_name], f"{point_name} never fired"
        for value in seen[point_name]:
            check_declaration(point, value, f"{name} {point_name}", SIZES)


def test_the_checks_of_declarations_can_fail() -> None:
    good = torch.rand(3, 2, *SIZE).softmax(1)
    check_declaration(Probe(2, low=0.0, high=1.0, sums_to_one=1), good, "good", SIZES)
    for wrong in (
        Probe(4),
        Probe(None),
        Probe(2, axes="B C 1 1"),
        Probe(2, axes="B C W H"),
        Probe(2, axes="B C HW"),
        Probe(2, low=0.5),
        Probe(2, high=0.1),
        Probe(2, sums_to_one=2),
    ):
        with pytest.raises(AssertionError):
            check_declaration(wrong, good, "wrong", SIZES)


@pytest.mark.parametrize("name", NAMES)
def test_no_invariant_is_left_undeclared(name: str) -> None:
    """With weights and inputs at random, what still keeps a bound or a sum by construction says so."""
    torch.manual_seed(0)
    seen: dict[str, list[Tensor]] = {}
    for seed in range(5):
        block = make(name, seed=seed)
        with torch.no_grad():
            for parameter in block.parameters():
                parameter.add_(torch.randn_like(parameter) * max(0.5, 2 * float(parameter.abs().mean())))
        values = watch(block)
        run(block, *inputs(seed=seed, scale=3.0))
        for point_name, passed in values.items():
            seen.setdefault(point_name, []).extend(passed)
    for point_name, point in probe_points(block).items():
        values_of = seen[point_name]
        low, high = min(float(v.min()) for v in values_of), max(float(v.max()) for v in values_of)
        if low == high:
            continue
        what = f"{name} {point_name} in [{low:.3g}, {high:.3g}]"
        assert point.low is not None or low < 0, f"{what} has no lower bound declared"
        assert point.high is not None or high > 0, f"{what} has no upper bound declared"
        if 0 <= low and high <= 1:
            assert point.high is not None, f"{what} has no upper bound declared"
        for dim in range(1, values_of[0].ndim):
            if values_of[0].shape[dim] > 1 and all(float((v.sum(dim) - 1).abs().max()) < 1e-4 for v in values_of):
                assert point.sums_to_one in (dim, dim - values_of[0].ndim), f"{what} sums to 1 along {dim}"


@pytest.mark.parametrize("level", [2, 5])
@pytest.mark.parametrize("name", NAMES)
def test_gates_start_informative(name: str, level: int) -> None:
    """On unit-variance input no gate is stuck at a bound or constant; those of the input differ between images."""
    block = make(name, level=level)
    seen = watch(block)
    run(block, *inputs(batch=8))
    for point_name, point in probe_points(block).items():
        if point.role not in {"gate", "attention", "exchange"}:
            continue
        value = seen[point_name][0]
        if point.sums_to_one is not None:
            value = value * (value.shape[point.sums_to_one] / 2)  # shares of n: 1 / n is to n what 0.5 is to two
        assert float(value.std()) > 1e-3, f"{point_name} is constant"
        if point.role == "exchange":  # 0 or 1 by weights
            continue
        assert float(value.std(dim=0).max()) > 1e-3, f"{point_name} does not move with the input"
        if point.role == "gate":
            stuck = float(((value < 0.005) | (value > 0.995)).float().mean())
            assert stuck < 0.2, f"{point_name}: {stuck:.0%} at a bound"


@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_interaction(name: str) -> None:
    rgb, x = inputs()
    out = run(make(name), rgb, x)
    for value in out:
        assert value.shape == rgb.shape
        assert bool(torch.isfinite(value).all())
        assert 1e-2 < float(value.std()) < 1e2
    interaction = fusions.get(name).interaction
    if interaction == "none":
        assert torch.equal(out.rgb, rgb) and torch.equal(out.x, x)
    if interaction == "inject":
        assert torch.equal(out.rgb, out.fused) and torch.equal(out.x, x)
    if interaction == "exchange":
        assert distance(out.rgb, rgb) > 1e-3 or distance(out.x, x) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_both_inputs_matter(name: str) -> None:
    block = make(name)
    rgb, x = inputs()
    other_rgb, other_x = inputs(seed=2)
    fused = run(block, rgb, x).fused
    for changed in (run(block, other_rgb, x).fused, run(block, rgb, other_x).fused):
        assert float((changed - fused).std()) > 1e-3 * float(fused.std())


@pytest.mark.parametrize("name", NAMES)
def test_the_fused_feature_sends_gradients_to_both_inputs(name: str) -> None:
    rgb, x = (t.requires_grad_() for t in inputs())
    fused = make(name).train()(rgb, x).fused
    weights = torch.randn(fused.shape, generator=torch.Generator().manual_seed(3))
    for grad in torch.autograd.grad((weights * fused).sum(), (rgb, x)):
        assert bool(torch.isfinite(grad).all())
        assert float(grad.abs().mean()) > 1e-4


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_finite_gradient(name: str, level: int) -> None:
    block = make(name, level=level).train()
    seen = watch(block)
    rgb, x = (t.requires_grad_() for t in inputs())
    torch.manual_seed(0)
    out = block(rgb, x)
    weights = torch.randn(3, *out.fused.shape, generator=torch.Generator().manual_seed(3))
    loss = sum((w * value).sum() for w, value in zip(weights, out, strict=True))
    for value in block.losses({k: seen[k][0] for k in block.loss_probes}).values():
        assert value.ndim == 0 and math.isfinite(float(value.detach()))
        loss = loss + value
    loss.backward()
    for key, parameter in [*block.named_parameters(), ("rgb", rgb), ("x", x)]:
        assert parameter.grad is not None, f"{key} has no gradient"
        assert bool(torch.isfinite(parameter.grad).all()), key
        assert float(parameter.grad.abs().max()) > 0, f"{key} has a zero gradient"


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_modality_stays_finite(name: str) -> None:
    """All zeros, what a missing modality becomes: finite values and gradients."""
    block = make(name).train()
    rgb, x = inputs()
    rgb.requires_grad_()
    zero = torch.zeros_like(x).requires_grad_()
    sum(value.square().sum() for value in block(rgb, zero)).backward()
    assert rgb.grad is not None and zero.grad is not None
    for key, parameter in [*block.named_parameters(), ("rgb", rgb), ("x", zero)]:
        assert parameter.grad is None or bool(torch.isfinite(parameter.grad).all()), key


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_batch_independence_and_determinism(name: str) -> None:
    block, fresh = make(name), make(name, seed=7)
    rgb, x = inputs()
    out = run(block, rgb, x)
    fresh.load_state_dict(block.state_dict(), strict=True)
    for value, again, restored in zip(out, run(block, rgb, x), run(fresh, rgb, x), strict=True):
        assert distance(again, value) < SAME and distance(restored, value) < SAME
    for i in range(rgb.shape[0]):
        alone = run(block, rgb[i : i + 1], x[i : i + 1])
        for value, single in zip(out, alone, strict=True):
            torch.testing.assert_close(value[i : i + 1], single, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_probes_leave_keys_and_values_alone(name: str) -> None:
    plain, watched = make(name), make(name)
    watch(watched)
    rgb, x = inputs()
    assert list(plain.state_dict()) == list(watched.state_dict())
    for a, b in zip(run(plain, rgb, x), run(watched, rgb, x), strict=True):
        assert distance(b, a) < SAME


@pytest.mark.parametrize("name", NAMES)
def test_meta_device_and_half_precision(name: str) -> None:
    with torch.device("meta"):
        block = fusions.get(name)(CHANNELS, level=2)
    assert all(p.is_meta for p in block.parameters())
    rgb, x = inputs()
    block = make(name).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        out = block(rgb, x)
    exact = run(block, rgb, x).fused
    assert bool(torch.isfinite(out.fused).all())
    assert float((out.fused.float() - exact).std()) < 0.1 * float(exact.std())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_compile_and_export_give_equal_values(name: str) -> None:
    torch._dynamo.reset()
    block = make(name).eval()
    rgb, x = inputs()
    want = run(block, rgb, x)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    exported = torch.export.export(block, (rgb, x)).module()
    with torch.no_grad():
        for got in (compiled(rgb, x), exported(rgb, x)):
            for a, b in zip(got, want, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
