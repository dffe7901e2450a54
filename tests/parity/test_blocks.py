"""Every published block against the values of its original: outputs, inner values, input gradients, parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fusionzoo.errors import CheckFailed, InputError, UnknownNameError
from fusionzoo.hub.originals import block, original_kinds
from fusionzoo.probes import intervene, probe, probe_points, zero
from tests.parity.reader import FOLDER, block_names, fill, kind_of, made_input, place, read

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no reference values: {FOLDER} is absent")

NAMES = block_names()
NOT_BY_RULE = {"cen_bottleneck_256"}
"""No tensor is stored and some weights (small batch-norm scales) deviate from the rule: counts and shapes only here;
its values are tested in tests/fusion/test_channel_exchange.py."""
FOLDED = {"shapeconv_6_16"}
"""The original's parameter gradients were taken after it had folded its extra parameters into `weight`."""
HEAVY = {"emsaformer_encoder_64"}
"""49 million parameters, which `dveformer_probe` among the whole models holds too."""


def marked(found: list[str]) -> list[Any]:
    return [pytest.param(n, marks=pytest.mark.slow) if n in HEAVY else n for n in found]


WITH_VALUES = [n for n in NAMES if place(n, ".safetensors").exists()]


def build(parity) -> nn.Module:
    module = block(kind_of(parity.name, original_kinds()), parity.state, parity.meta["ctor"])
    return module.train(parity.meta["mode"] == "train")


def as_tuple(out: object) -> tuple[Tensor, ...]:
    return (out,) if isinstance(out, Tensor) else tuple(out)  # type: ignore[arg-type]


def assert_near(got: Tensor, want: Tensor, what: str) -> None:
    assert got.shape == want.shape, what
    limit = 1e-5 * max(1.0, float(want.abs().max()))
    worst = float((got - want).detach().abs().max())
    assert worst <= limit, f"{what}: {worst:.3g} > {limit:.3g}"


@pytest.mark.parametrize("name", marked(WITH_VALUES))
def test_outputs_inner_values_and_gradients(name: str) -> None:
    parity = read(name)
    module = build(parity)
    inputs = {k: v.clone().requires_grad_(k in parity.grads) for k, v in parity.inputs.items()}
    with probe(module) as tape:  # on leaving it refuses a probe that never fired
        out = as_tuple(module(*inputs.values()))
    assert len(out) == len(parity.outputs)
    for got, (key, want) in zip(out, parity.outputs.items(), strict=True):
        assert_near(got, want, f"{name} output {key}")
    for key, want in parity.probes.items():
        assert_near(tape[f"original.{key}"], want, f"{name} probe {key}")
    if parity.grads:
        loss = sum((o * fill(f"lossw.{k}", tuple(o.shape))).sum() for k, o in zip(parity.outputs, out, strict=True))
        loss.backward()
        for key, want in parity.grads.items():
            got = inputs[key].grad
            assert got is not None
            worst = float((got - want).detach().abs().max() / want.abs().max())
            assert worst <= 1e-5, f"{name} gradient of {key}: {worst:.3g}"


@pytest.mark.parametrize("name", marked(NAMES))
def test_parameters_outputs_and_parameter_gradients(name: str) -> None:
    """Counts; size, mean and spread of the outputs; the norm of every parameter's gradient. This needs no stored
    tensor, so it also covers the sizes of which only the JSON is there."""
    parity = read(name)
    module = build(parity)
    assert sum(p.numel() for p in module.parameters()) == parity.meta["params"]
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == parity.meta["params_trainable"]
    out = as_tuple(module(*parity.inputs.values()))
    for got, want in zip(out, parity.meta["outputs"].values(), strict=True):
        assert list(got.shape) == want["shape"]
        if name in NOT_BY_RULE:
            continue
        scale = max(1.0, want["absmax"])
        assert float(got.detach().abs().max()) == pytest.approx(want["absmax"], abs=1e-5 * scale)
        assert float(got.detach().double().mean()) == pytest.approx(want["mean"], abs=1e-6 * scale)
        assert float(got.detach().double().std()) == pytest.approx(want["std"], abs=1e-6 * scale)
    norms = parity.meta.get("param_grad_norms")
    if isinstance(norms, dict) and norms and name not in NOT_BY_RULE | FOLDED:
        keys = parity.meta["outputs"]
        loss = sum((o * fill(f"lossw.{k}", tuple(o.shape))).sum() for k, o in zip(keys, out, strict=True))
        assert isinstance(loss, Tensor)
        loss.backward()
        ours = dict(module.get_submodule("module").named_parameters())
        for key, want in norms.items():
            grad = ours[module.keys[key]].grad
            got = None if grad is None else float(grad.norm())
            assert got == (want if want is None else pytest.approx(want, rel=1e-4, abs=1e-4)), key


@pytest.mark.parametrize("name", ["sagate_256", "cen_bn_exchange_64", "spnet_cim0_64"])
def test_stored_inputs_follow_the_rule(name: str) -> None:
    for key, value in read(name).inputs.items():
        if key != "hha":
            assert torch.equal(value, made_input(key, list(value.shape))), key


@pytest.mark.parametrize("name", marked(NAMES))
def test_wrong_keys_are_refused(name: str) -> None:
    parity = read(name)
    kind = kind_of(name, original_kinds())
    with pytest.raises(CheckFailed, match="unmapped: surplus.weight"):
        block(kind, {**parity.state, "surplus.weight": torch.zeros(1)}, parity.meta["ctor"])
    if parity.state:
        gone = sorted(parity.state)[0]
        with pytest.raises(CheckFailed, match=f"missing: {gone}"):
            block(kind, {k: v for k, v in parity.state.items() if k != gone}, parity.meta["ctor"])
        longer = {**parity.state, gone: torch.zeros(*parity.state[gone].shape, 2)}
        with pytest.raises(CheckFailed, match=gone):
            block(kind, longer, parity.meta["ctor"])
    if parity.meta["ctor"]:
        with pytest.raises(InputError, match="constructor arguments lack"):
            block(kind, parity.state, {})


def test_unknown_kind_names_the_closest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'acnet_acm'"):
        block("acnet_acn", {}, {})


def test_views_follow_edits_of_our_own_probes() -> None:
    parity = read("acnet_acm_64")
    module = build(parity)
    with intervene(module, {"module.gate_rgb": zero()}), probe(module, "original.atten_rgb", keep="all") as tape:
        out = module(*parity.inputs.values())
        module(*parity.inputs.values())
    first, second = tape.all("original.atten_rgb")  # the view leaves the edit where it is
    assert float(first.abs().max()) == float(second.abs().max()) == 0.0
    assert all(point.tap is None for point in probe_points(module).values())
    x, merged = parity.inputs["depth"], parity.inputs["merged"]
    assert torch.allclose(out, merged + x * parity.probes["atten_depth"], atol=1e-6)
