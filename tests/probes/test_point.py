"""Probe itself: names, selection, copies, checkpoint keys, export."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.probes import Probe, assert_untapped, probe, probe_points, select
from tests.compare import distance
from tests.probes.nets import NAMES, twin


def test_names_come_in_model_order():
    net, _, _ = twin()
    assert list(probe_points(net)) == NAMES


def test_names_are_the_same_through_torch_compile():
    net, _, _ = twin()
    assert list(probe_points(torch.compile(net, backend="eager"))) == NAMES


def test_probes_add_no_checkpoint_keys():
    net, _, _ = twin()
    assert not [key for key in net.state_dict() if "stage" in key]
    assert sum(p.numel() for p in Probe(64).parameters()) == 0


def test_forward_returns_the_very_tensor():
    value = torch.randn(2, 3)
    assert Probe()(value) is value


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        (("*",), NAMES),
        (("stage2.rgb",), ["stage2.rgb"]),
        (("*.fused", "stage1.x"), ["stage1.x", "stage1.fused", "stage2.fused"]),
        (("stage[2-9].*",), NAMES[3:]),
    ],
)
def test_select(patterns, wanted):
    net, _, _ = twin()
    assert list(select(net, patterns)) == wanted


def test_unknown_pattern_names_the_closest():
    net, _, _ = twin()
    with pytest.raises(UnknownNameError, match=r"unknown probe 'stage1.rbg'; did you mean 'stage1.rgb'"):
        select(net, ("*", "stage1.rbg"))


def test_a_list_of_patterns_is_no_pattern():
    net, _, _ = twin()
    with pytest.raises(InputError, match=r"is a text, not \[.*\]; give several one by one"), probe(net, [NAMES[0]]):
        pass


def test_a_model_without_probes_is_an_error():
    with pytest.raises(InputError, match="Linear has no probes"):
        select(nn.Linear(2, 2))


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])  # noqa: S301
def test_a_copy_made_inside_a_context_listens_to_nobody(clone):
    net, rgb, x = twin()
    with probe(net, "stage1.rgb") as tape:
        twin_copy = clone(net)
        net(rgb, x)
        first = tape["stage1.rgb"]
        twin_copy(rgb + 1, x)
        assert torch.equal(tape["stage1.rgb"], first)
        assert all(point.tap is None for point in probe_points(twin_copy).values())
        with probe(twin_copy, "stage1.rgb") as other:
            twin_copy(rgb + 1, x)
        assert distance(other["stage1.rgb"], first) > 1e-3
    assert_untapped(net)


def test_assert_untapped_names_what_is_attached():
    net, rgb, x = twin()
    with probe(net, "*") as _:
        with pytest.raises(InputError, match=r"6 probes .*stage1\.rgb, stage1\.x, stage1\.fused, \.\.\."):
            assert_untapped(net)
        net(rgb, x)
    assert_untapped(net)


@pytest.mark.parametrize("strict", [True, False])
def test_export_is_refused_while_something_listens(strict):
    net, rgb, x = twin()
    with probe(net, "stage1.rgb") as tape:
        with pytest.raises((InputError, torch._dynamo.exc.Unsupported)):
            torch.export.export(net, (rgb, x), strict=strict)
        assert not tape  # no fake tensor reached it
        net(rgb, x)
    exported = torch.export.export(net, (rgb, x), strict=strict)
    assert not [node for node in exported.graph.nodes if "probe" in node.name or "stage" in node.name]
    torch.testing.assert_close(exported.module()(rgb, x), net(rgb, x))


def test_a_wrapper_exports_probed_values():
    """How to export features: the wrapper's own graph has them as outputs; nothing is attached from outside."""
    net, rgb, x = twin()

    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, rgb, x):
            fused = self.net.stage1["fused"](
                self.net.rgb_conv[0](rgb).clamp(min=0) + self.net.x_conv[0](x).clamp(min=0)
            )
            return self.net(rgb, x), {"stage1.fused": fused}

    with probe(net, "stage1.fused") as tape:
        net(rgb, x)
    _, features = torch.export.export(Wrapper(), (rgb, x)).module()(rgb, x)
    torch.testing.assert_close(features["stage1.fused"], tape["stage1.fused"])
