"""Probes under `model.compile(fullgraph=True)`: attached before or after the first call, traced or not."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from fusionzoo.errors import InputError
from fusionzoo.probes import assert_untapped, edit, intervene, listen, mean_ablate, probe, swap, zero
from tests.probes.nets import NAMES, by_hand, twin


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(backend="aot_eager"):
    """(network compiled with fullgraph, rgb, x, counter of compiled graphs)."""
    net, rgb, x = twin()
    counter = CompileCounterWithBackend(backend)
    net.compile(backend=counter, fullgraph=True)
    return net, rgb, x, counter


def without_probes(net: nn.Module) -> nn.Module:
    for stage in (net.stage1, net.stage2):
        for name in stage:
            stage[name] = nn.Identity()
    return net


def test_nothing_attached_leaves_no_graph_node():
    net, rgb, x, counter = compiled("eager")
    net(rgb, x)
    bare, bare_counter = without_probes(twin()[0]), CompileCounterWithBackend("eager")
    bare.compile(backend=bare_counter, fullgraph=True)
    bare(rgb, x)
    count = [len(c.graphs[0].graph.nodes) for c in (counter, bare_counter)]
    assert count[0] == count[1] > 10


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("first", ["plain call", "attached", "compile inside"])
def test_values_whenever_attached(first, trace, grad):
    net, rgb, x = twin()
    wanted, logits = by_hand(net, rgb, x)
    counter = CompileCounterWithBackend("aot_eager")
    with torch.set_grad_enabled(grad):
        if first != "compile inside":
            net.compile(backend=counter, fullgraph=True)
        if first == "plain call":
            net(rgb, x)
        with probe(net, trace=trace) as tape:
            if first == "compile inside":
                net.compile(backend=counter, fullgraph=True)
            out = net(rgb, x)
        torch.testing.assert_close(out, logits)
        for name in NAMES:
            torch.testing.assert_close(tape[name], wanted[name])
        torch.testing.assert_close(net(rgb + 1, x), by_hand(net, rgb + 1, x)[1])  # and the taps are gone
        torch.testing.assert_close(tape["stage1.rgb"], wanted["stage1.rgb"])
    assert counter.frame_count == (2 if trace else 1)


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize(
    "change",
    [zero(), mean_ablate(), mean_ablate(torch.arange(4.0)), swap(), swap([2, 0, 1]), edit(torch.sin)],
    ids=repr,
)
def test_edits_equal_eager(change, trace):
    net, rgb, x, _ = compiled()
    eager = twin()[0]
    with intervene(eager, {"stage1.x": change, "stage2.rgb": change}):
        wanted = eager(rgb, x)
    plain = net(rgb, x)
    with intervene(net, {"stage1.x": change, "stage2.rgb": change}, trace=trace):
        out = net(rgb, x)
    torch.testing.assert_close(out, wanted)
    assert (out - plain).abs().max() > 1e-3
    torch.testing.assert_close(net(rgb, x), plain)


def test_twenty_subsets_cost_no_compilation():
    net, rgb, x, counter = compiled()
    wanted, _ = by_hand(net, rgb, x)
    net(rgb, x)
    subsets = list(itertools.combinations(NAMES, 3))
    assert len(subsets) == 20 > torch._dynamo.config.recompile_limit
    for names in subsets:
        with probe(net, *names) as tape:
            net(rgb, x)
        assert list(tape) == [n for n in NAMES if n in names]
        for name in names:
            torch.testing.assert_close(tape[name], wanted[name])
    net(rgb, x)
    assert counter.frame_count == 1


def test_traced_one_set_compiles_once_however_often_it_is_used():
    net, rgb, x, counter = compiled()
    net(rgb, x)
    for k in range(6):
        with probe(net, "stage1.rgb", "stage2.*", trace=True) as tape:
            net(rgb - k, x)
            net(rgb + k, x)  # a second batch in the same context
        torch.testing.assert_close(tape["stage2.rgb"], by_hand(net, rgb + k, x)[0]["stage2.rgb"])
        net(rgb, x)  # the graph without taps is valid again
    assert counter.frame_count == 2


def test_traced_many_sets_end_in_an_error_not_in_silence():
    net, rgb, x, _ = compiled("eager")
    with torch._dynamo.config.patch(recompile_limit=3):
        with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
            for names in itertools.combinations(NAMES, 2):
                with probe(net, *names, trace=True):
                    net(rgb, x)
    assert_untapped(net)
    with probe(net, "stage1.rgb") as tape:  # the default still works
        net(rgb, x)
    torch.testing.assert_close(tape["stage1.rgb"], by_hand(net, rgb, x)[0]["stage1.rgb"])


def test_traced_losses_reach_the_parameters():
    net, rgb, x, counter = compiled()
    net.train()
    with probe(net, "stage1.rgb", detach=False, trace=True) as tape:
        net(rgb, x)
    tape["stage1.rgb"].square().mean().backward()
    a = nn.functional.conv2d(rgb, net.rgb_conv[0].weight, net.rgb_conv[0].bias, padding=1)
    (wanted,) = torch.autograd.grad(a.square().mean(), net.rgb_conv[0].weight)
    torch.testing.assert_close(net.rgb_conv[0].weight.grad, wanted)
    assert counter.frame_count == 1


def test_a_reducer_may_be_any_python():
    """Branches on values, `.item()`, files: none of it could be traced."""
    net, rgb, x, counter = compiled()
    net(rgb, x)
    seen: list[float] = []
    with listen(net, {"stage2.fused": lambda name, value: seen.append(value.max().item()) if value.any() else None}):
        net(rgb, x)
        with probe(net, "stage1.x", trace=True) as tape:  # inside another's context nothing is traced
            net(rgb + 1, x)
    assert seen == pytest.approx([float(by_hand(net, rgb + k, x)[0]["stage2.fused"].max()) for k in (0, 1)], rel=1e-5)
    assert len(tape) == 1 and counter.frame_count == 1


def test_the_stance_ends_with_the_last_context_in_any_order():
    net, rgb, x, counter = compiled()
    first, second = probe(net, "stage1.rgb"), probe(net, "stage1.x")
    first.__enter__()
    second.__enter__()
    net(rgb, x)
    first.__exit__(None, None, None)
    net(rgb, x)
    assert counter.frame_count == 0  # the second context still listens, in eager mode
    second.__exit__(None, None, None)
    net(rgb, x)
    assert counter.frame_count == 1
    with pytest.raises(InputError):
        with probe(net, "stage1.rgb"):
            raise InputError("ends by an error")
    assert torch._dynamo.eval_frame._stance.stance == "default"


def test_wrapped_by_torch_compile():
    net, rgb, x = twin()
    wrapped = torch.compile(net, backend="eager", fullgraph=True)
    wrapped(rgb, x)
    with probe(wrapped, "stage1.rgb") as tape:
        wrapped(rgb, x)
    torch.testing.assert_close(tape["stage1.rgb"], by_hand(net, rgb, x)[0]["stage1.rgb"])


@pytest.mark.slow
@pytest.mark.parametrize("trace", [False, True])
def test_inductor(trace):
    net, rgb, x = twin()
    net.compile(fullgraph=True)
    wanted, logits = by_hand(net, rgb, x)
    with torch.no_grad():
        net(rgb, x)
        with intervene(net, {"stage1.x": zero()}, trace=trace), probe(net, trace=trace) as tape:
            net(rgb, x)
        assert tape["stage1.x"].abs().max() == 0
        torch.testing.assert_close(tape["stage1.rgb"], wanted["stage1.rgb"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(net(rgb, x), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_zoo_model_compiled():
    """The hybrid under fullgraph: every probe's traced value equals the eager one."""
    from fusionzoo import create_model

    net = create_model("hybrid_mobilenetv1-025_fpn", num_classes=4).eval()
    rgb, x = torch.randn(1, 3, 64, 64), torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        with probe(net) as eager:
            net(rgb, x)
        counter = CompileCounterWithBackend("eager")
        net.compile(backend=counter, fullgraph=True)
        net(rgb, x)
        with probe(net, trace=True) as traced:
            net(rgb, x)
    assert counter.frame_count == 2 and list(traced) == list(net.probe_points())
    for name, value in eager.items():
        torch.testing.assert_close(traced[name], value, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
