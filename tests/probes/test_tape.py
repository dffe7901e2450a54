"""probe() and listen() in eager mode, against a plain loop without probes."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch
from torch import nn

import fusionzoo
from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.probes import Probe, assert_untapped, edit, intervene, listen, probe, zero
from tests.probes.nets import NAMES, by_hand, twin


def test_values_are_those_of_a_plain_loop():
    net, rgb, x = twin()
    wanted, logits = by_hand(net, rgb, x)
    with probe(net) as tape:
        out = net(rgb, x)
    torch.testing.assert_close(out, logits)
    assert list(tape) == NAMES and len(tape) == 6
    for name in NAMES:  # the rgb and x probes stand before an in-place ReLU: negative values must still be there
        torch.testing.assert_close(tape[name], wanted[name])
        assert not tape[name].requires_grad


def test_without_clone_an_in_place_operation_changes_the_captured_tensor():
    net, rgb, x = twin()
    with torch.no_grad(), probe(net, "stage1.rgb", clone=False) as tape:
        net(rgb, x)
    assert tape["stage1.rgb"].min() == 0  # why clone=True is the default


def test_public_names_are_these():
    assert fusionzoo.probe is probe and fusionzoo.listen is listen and fusionzoo.intervene is intervene


def test_keep_last_and_all():
    net, rgb, x = twin()
    with probe(net, "stage2.fused") as last, probe(net, "stage2.fused", keep="all") as every:
        for k in range(3):
            net(rgb + k, x)
    wanted = [by_hand(net, rgb + k, x)[0]["stage2.fused"] for k in range(3)]
    torch.testing.assert_close(last["stage2.fused"], wanted[2])
    torch.testing.assert_close(every.all("stage2.fused"), wanted)
    torch.testing.assert_close(every["stage2.fused"], wanted[2])
    with pytest.raises(InputError, match='keep="all"'):
        last.all("stage2.fused")


def test_losses_on_captured_values_reach_the_parameters():
    net, rgb, x = twin()
    with probe(net, "stage1.rgb", detach=False) as tape:
        net(rgb, x)
    tape["stage1.rgb"].square().mean().backward()
    grad = net.rgb_conv[0].weight.grad
    a = nn.functional.conv2d(rgb, net.rgb_conv[0].weight, net.rgb_conv[0].bias, padding=1)
    (wanted,) = torch.autograd.grad(a.square().mean(), net.rgb_conv[0].weight)
    torch.testing.assert_close(grad, wanted)
    assert net.x_conv[0].weight.grad is None


def test_gradient_at_a_probe():
    net, rgb, x = twin()
    with probe(net, "stage2.fused", detach=False, clone=False) as tape:
        loss = net(rgb, x).sum()
    (grad,) = torch.autograd.grad(loss, tape["stage2.fused"])
    wanted = net.head.weight.sum(dim=0).view(1, -1, 1, 1).expand_as(grad)  # d sum(conv1x1) / d input
    torch.testing.assert_close(grad, wanted)


def test_listeners_get_the_live_tensor_and_every_pattern_that_matches():
    net, rgb, x = twin()
    wanted, _ = by_hand(net, rgb, x)
    sums: dict[str, float] = {}
    order: list[str] = []

    def add(name, value):
        assert value.requires_grad  # live, not detached
        sums[name] = sums.get(name, 0.0) + float(value.detach().double().sum())

    with listen(net, {"*.rgb": add, "stage1.*": lambda name, value: order.append(name)}) as names:
        net(rgb, x)
        net(rgb, x)
    assert names == ["stage1.rgb", "stage1.x", "stage1.fused", "stage2.rgb"]
    assert order == ["stage1.rgb", "stage1.x", "stage1.fused"] * 2
    twice = {n: 2 * float(wanted[n].double().sum()) for n in ("stage1.rgb", "stage2.rgb")}
    assert sums == pytest.approx(twice, rel=1e-5)


def test_a_listener_that_writes_is_refused():
    net, rgb, x = twin()
    with pytest.raises(InputError, match=r"listener at 'stage1\.x' changed the tensor in place"):
        with torch.no_grad(), listen(net, {"stage1.x": lambda name, value: value.zero_()}):
            net(rgb, x)
    assert_untapped(net)


def test_works_in_inference_mode_and_half_precision():
    net, rgb, x = twin()
    with torch.inference_mode(), probe(net, "stage1.*") as tape:
        net(rgb, x)
    torch.testing.assert_close(tape["stage1.x"], by_hand(net, rgb, x)[0]["stage1.x"])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), probe(net, "stage1.rgb") as tape:
        net(rgb, x)
    assert tape["stage1.rgb"].dtype == torch.bfloat16


# Contexts compose.


def test_nested_contexts_undo_only_their_own():
    net, rgb, x = twin()
    wanted, _ = by_hand(net, rgb, x)
    with probe(net, "stage1.*") as outer:
        with probe(net, "stage1.rgb", "stage2.rgb") as inner:
            net(rgb, x)
        net(rgb + 1, x)
    torch.testing.assert_close(inner["stage1.rgb"], wanted["stage1.rgb"])
    torch.testing.assert_close(outer["stage1.rgb"], by_hand(net, rgb + 1, x)[0]["stage1.rgb"])
    assert_untapped(net)


def test_contexts_may_end_out_of_order():
    net, rgb, x = twin()
    first, second = ExitStack(), ExitStack()
    a = first.enter_context(probe(net, "stage1.rgb"))
    b = second.enter_context(probe(net, "stage1.rgb"))
    net(rgb, x)
    first.close()
    net(rgb + 1, x)
    second.close()
    torch.testing.assert_close(a["stage1.rgb"], by_hand(net, rgb, x)[0]["stage1.rgb"])
    torch.testing.assert_close(b["stage1.rgb"], by_hand(net, rgb + 1, x)[0]["stage1.rgb"])
    assert_untapped(net)


@pytest.mark.parametrize("edit_first", [True, False])
def test_edits_run_before_captures_whichever_came_first(edit_first):
    net, rgb, x = twin()
    with ExitStack() as stack:
        if edit_first:
            stack.enter_context(intervene(net, {"stage1.x": zero()}))
        tape = stack.enter_context(probe(net, "stage1.x", "stage1.rgb"))
        if not edit_first:
            stack.enter_context(intervene(net, {"stage1.x": zero()}))
        net(rgb, x)
    assert tape["stage1.x"].abs().max() == 0
    assert tape["stage1.rgb"].abs().max() > 0


def test_edits_run_outermost_first():
    net, rgb, x = twin()
    wanted = by_hand(net, rgb, x)[0]["stage1.fused"]
    with intervene(net, {"stage1.fused": edit(lambda v: v + 1)}):
        with intervene(net, {"*1.fused": edit(lambda v: v * 2), "stage1.*": edit(lambda v: v - 0)}):
            with probe(net, "stage1.fused") as tape:
                net(rgb, x)
    torch.testing.assert_close(tape["stage1.fused"], (wanted + 1) * 2)


def test_a_submodule_keeps_its_own_names_inside_a_context_on_the_whole():
    net, rgb, x = twin()
    with probe(net, "stage1.rgb") as whole, probe(net.stage1, "rgb") as part:
        net(rgb, x)
    assert list(whole) == ["stage1.rgb"] and list(part) == ["rgb"]
    assert torch.equal(whole["stage1.rgb"], part["rgb"])


@pytest.mark.parametrize("where", ["body", "forward", "listener"])
def test_an_exception_restores_everything_and_is_not_hidden(where):
    net, rgb, x = twin()

    def bad(name, value):
        raise RuntimeError("bad listener")

    with pytest.raises((RuntimeError, ValueError)) as caught:
        heard = {"stage1.x": bad if where == "listener" else print_nothing}
        with probe(net, "*"), intervene(net, {"stage2.*": zero()}), listen(net, heard):
            if where == "body":
                raise ValueError("body")
            net(rgb, x if where == "listener" else x[:, :, :2])
    assert not isinstance(caught.value, InputError)
    assert_untapped(net)
    torch.testing.assert_close(net(rgb, x), by_hand(net, rgb, x)[1])


def print_nothing(name, value):
    """A listener that does nothing."""


# Misuse is an error, not silence.


def test_no_forward_pass():
    net, _, _ = twin()
    with pytest.raises(InputError, match=r"no forward pass reached stage1\.rgb, .* and 1 more; call the model inside"):
        with probe(net):
            pass


def test_forward_pass_outside_the_context():
    net, rgb, x = twin()
    net(rgb, x)
    with pytest.raises(InputError, match="no forward pass reached stage1.x"):
        with listen(net, {"stage1.x": print_nothing}):
            pass


def test_a_probe_that_the_pass_does_not_reach():
    class Branchy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = Probe(), Probe()

        def forward(self, value):
            return self.used(value)

    net = Branchy()
    with pytest.raises(InputError, match="the forward pass did not reach unused;"):
        with probe(net):
            net(torch.zeros(1))
    assert_untapped(net)


def test_other_misuse():
    net, rgb, x = twin()
    with pytest.raises(UnknownNameError, match="did you mean 'stage2.fused'"):
        with probe(net, "stage2.fusd"):
            pass
    with pytest.raises(InputError, match="no probes"):
        with probe(nn.Linear(2, 2)):
            pass
    with pytest.raises(InputError, match="no listener"):
        with listen(net, {}):
            pass
    with pytest.raises(InputError, match="keep='first'"):
        with probe(net, keep="first"):
            pass
    with pytest.raises(InputError, match="trace=False"):
        with probe(net, keep="all", trace=True):
            pass
    with probe(net, "stage1.*") as tape:
        assert "stage1.rgb" not in tape
        with pytest.raises(UnknownNameError, match="call the model inside the context"):
            tape["stage1.rgb"]
        net(rgb, x)
    with pytest.raises(UnknownNameError, match="did you mean 'stage1.rgb'"):
        tape["stage1.rgbb"]


def test_a_foreign_tap_is_not_overwritten():
    net, rgb, x = twin()
    mine = net.stage1["rgb"].tap = lambda value: value
    with pytest.raises(InputError, match="attached by hand"):
        with probe(net, "stage1.*"):
            net(rgb, x)
    assert net.stage1["rgb"].tap is mine and net.stage1["x"].tap is None
