"""intervene() and its edits: values against direct computation, misuse as errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.probes import (
    Probe,
    assert_untapped,
    edit,
    intervene,
    mean_ablate,
    only,
    patch,
    probe,
    project_out,
    swap,
    zero,
)
from tests.probes.nets import by_hand, twin


def through(change, value):
    """What a lone probe lets through under `change`."""
    net = nn.Sequential(Probe())
    with intervene(net, {"0": change}):
        return net(value)


def test_zero_of_the_x_stream_equals_a_network_without_it():
    net, rgb, x = twin()
    with intervene(net, {"*.x": zero()}) as names:
        out = net(rgb, x)
    assert names == ["stage1.x", "stage2.x"]
    seen = rgb
    for conv in net.rgb_conv:
        seen = nn.functional.conv2d(seen, conv.weight, conv.bias, padding=1).clamp(min=0)
    torch.testing.assert_close(out, nn.functional.conv2d(seen, net.head.weight, net.head.bias))
    torch.testing.assert_close(net(rgb, x), by_hand(net, rgb, x)[1])  # undone


def test_mean_ablate_by_its_own_mean():
    value = torch.randn(2, 3, 4, 5)
    out = through(mean_ablate(), value)
    for channel in range(3):
        wanted = sum(float(v) for v in value[:, channel].flatten()) / 40
        assert out[:, channel].min() == out[:, channel].max()
        assert float(out[0, channel, 0, 0]) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3), (2, 3, 6)])
def test_mean_ablate_by_a_given_mean(shape):
    out = through(mean_ablate(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)), torch.randn(shape))
    assert out.shape == shape and out.dtype == torch.float32
    assert out.movedim(1, 0).flatten(1).mean(1).tolist() == [1.0, 2.0, 3.0]


def test_swap():
    value = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 2, 2, 2)
    assert through(swap(), value)[:, 0, 0, 0].tolist() == [2.0, 0.0, 1.0]
    assert through(swap([1, 2, 0]), value)[:, 0, 0, 0].tolist() == [1.0, 2.0, 0.0]
    assert through(swap(torch.tensor([0, 2, 1])), value)[:, 1, 1, 1].tolist() == [0.0, 2.0, 1.0]


def test_swapping_the_whole_x_stream_equals_swapping_the_input():
    net, rgb, x = twin()
    with intervene(net, {"*.x": swap([2, 0, 1])}):  # stage1 is swapped, then stage2 once more
        out = net(rgb, x)
    seen, _ = by_hand(net, rgb, x)
    x1 = seen["stage1.x"][[2, 0, 1]].clamp(min=0)
    x2 = nn.functional.conv2d(x1, net.x_conv[1].weight, net.x_conv[1].bias, padding=1)[[2, 0, 1]].clamp(min=0)
    fused = seen["stage1.rgb"].clamp(min=0) + x1
    rgb2 = nn.functional.conv2d(fused, net.rgb_conv[1].weight, net.rgb_conv[1].bias, padding=1).clamp(min=0)
    torch.testing.assert_close(out, nn.functional.conv2d(rgb2 + x2, net.head.weight, net.head.bias))


def test_an_edit_may_write_into_what_it_is_given():
    """The probed tensor has other readers (a skip connection): they must not see the edit."""

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.point = Probe()

        def forward(self, value):
            return self.point(value), value

    net, value = Skip(), torch.ones(2, 3)
    with intervene(net, {"point": edit(lambda v: v.mul_(5))}):
        edited, kept = net(value)
    assert edited.unique().tolist() == [5.0] and kept.unique().tolist() == [1.0]


def test_patching_in_a_value_from_another_input_leaves_that_value_alone():
    net, rgb, x = twin()
    with torch.no_grad():
        with probe(net, "stage1.x", "stage2.rgb") as donor:
            net(rgb, x + 1)
        before = donor["stage1.x"].clone()
        with intervene(net, {"stage1.x": edit(lambda v: donor["stage1.x"])}), probe(net, "stage2.rgb") as patched:
            net(rgb, x)
    assert torch.equal(donor["stage1.x"], before) and before.min() < 0  # an in-place ReLU follows this probe
    torch.testing.assert_close(patched["stage2.rgb"], donor["stage2.rgb"])


def test_patch_gives_the_other_run_and_survives_in_place_operations():
    net, rgb, x = twin()
    with torch.no_grad():
        with probe(net) as donor:
            wanted = net(rgb, x + 1)
        before = {name: donor[name].clone() for name in ("stage1.x", "stage2.x")}
        with intervene(net, {name: patch(donor[name]) for name in before}):
            for _ in range(2):
                out = net(rgb, x)
    torch.testing.assert_close(out, wanted)  # rgb is the same, and all that x does passes these two
    assert all(torch.equal(donor[name], value) for name, value in before.items())


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 3, 4)])
def test_only_changes_its_channels(shape):
    value = torch.randn(shape)
    out = through(only(mean_ablate(torch.full((5,), 7.0)), [3, 0]), value)
    for channel in range(5):
        if channel in (0, 3):
            assert out[:, channel].unique().tolist() == [7.0]
        else:
            assert torch.equal(out[:, channel], value[:, channel])


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 3, 4), (2, 5, 6)])
def test_projecting_out_leaves_nothing_along_the_direction(shape):
    g = torch.Generator().manual_seed(0)
    value, w, mean = torch.randn(shape, generator=g), torch.randn(5, generator=g), torch.randn(5, generator=g)
    out = through(project_out(w, mean), value)
    before, after = (v.movedim(1, -1).reshape(-1, 5) for v in (value, out))
    for old, new in zip(before.tolist(), after.tolist(), strict=True):  # by hand, position by position
        along = sum((o - m) * d for o, m, d in zip(old, mean.tolist(), w.tolist(), strict=True))
        wanted = [o - along * d / float(w @ w) for o, d in zip(old, w.tolist(), strict=True)]
        assert new == pytest.approx(wanted, abs=1e-5)
    torch.testing.assert_close((after - mean) @ w, torch.zeros(len(after)), atol=1e-5, rtol=0)


def test_least_squares_erasure_leaves_no_linear_trace_of_a_concept():
    g = torch.Generator().manual_seed(1)
    z = (torch.rand(4000, generator=g) < 0.3).double()
    x = torch.randn(4000, 4, generator=g).double() @ torch.randn(4, 4, generator=g).double()
    x = x + z[:, None] * torch.tensor([2.0, -1.0, 0.5, 0.0]).double()
    centred, mean = x - x.mean(0), x.mean(0)
    c = centred.T @ (z - z.mean()) / 4000
    w = torch.linalg.solve(centred.T @ centred / 4000, c)
    out = through(project_out(w, mean, along=c), x)
    after = (out - out.mean(0)).T @ (z - z.mean()) / 4000
    torch.testing.assert_close(after, torch.zeros(4).double(), atol=1e-12, rtol=0)
    assert float(c.abs().max()) > 0.1
    plain = through(project_out(w, mean), x)  # the orthogonal projection leaves some
    assert float(((plain - plain.mean(0)).T @ (z - z.mean()) / 4000).abs().max()) > 1e-3
    design = torch.cat([out, torch.ones(4000, 1).double()], 1)
    fitted = design @ torch.linalg.lstsq(design, z[:, None], driver="gelsd", rcond=1e-10).solution
    torch.testing.assert_close(fitted, z.mean().expand(4000, 1), atol=1e-9, rtol=0)  # the best detector is a constant


def test_gradients_pass_through_an_edit():
    value = torch.randn(2, 3, requires_grad=True)
    through(edit(lambda v: 3 * v), value).sum().backward()
    assert value.grad.unique().tolist() == [3.0]


def test_labels_for_reports():
    chosen = (only(zero(), [2, 3]), only(zero(), [0, 3]), patch(torch.ones(1)), project_out(torch.ones(2)))
    assert [repr(e) for e in chosen] == [
        "only(zero(), 2:4)",
        "only(zero(), [0, 3])",
        "patch()",
        "project_out(direction)",
    ]
    assert [repr(e) for e in (zero(), mean_ablate(), swap([1, 0]), edit(abs))] == [
        "zero()",
        "mean_ablate()",
        "swap([1, 0])",
        "edit(abs)",
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (edit(lambda v: v[:1]), r"edit\(<lambda>\) at '0' returned \(1, 3\).*wanted \(2, 3\)"),
        (edit(lambda v: v.double()), "float64"),
        (edit(lambda v: None), "NoneType, wanted a tensor"),
        (swap([1, 2, 0]), "3 entries but the batch has 2"),
        (mean_ablate(torch.zeros(4)), "4 numbers for a probe of 3 channels"),
        (patch(torch.zeros(2, 4)), r"patch\(\) at '0' returned \(2, 4\)"),
        (only(zero(), [3]), r"channel 3 does not exist in a value of shape \(2, 3\)"),
        (project_out(torch.ones(4)), r"4 channels, but a value of shape \(2, 3\)"),
    ],
)
def test_an_edit_that_does_not_fit(change, text):
    with pytest.raises(InputError, match=text):
        through(change, torch.randn(2, 3))


def test_edits_that_cannot_be():
    with pytest.raises(InputError, match="needs at least 2 samples"):
        through(swap(), torch.randn(1, 3))
    with pytest.raises(InputError, match="channels in dimension 1"):
        through(mean_ablate(), torch.randn(3))
    with pytest.raises(InputError, match=r"\[0, 0\] is not a permutation"):
        swap([0, 0])
    with pytest.raises(InputError, match=r"shape \(2, 2\)"):
        mean_ablate(torch.zeros(2, 2))
    for channels in ([], [-1], [1, 1]):
        with pytest.raises(InputError, match="is not a list of channels"):
            only(zero(), channels)
    with pytest.raises(InputError, match="patch: wanted a tensor, got float"):
        patch(1.0)
    with pytest.raises(InputError, match=r"mean has shape \(3,\), wanted one number for each channel"):
        project_out(torch.ones(2), torch.ones(3))
    for along in (None, torch.zeros(2), torch.tensor([1.0, -1.0])):
        with pytest.raises(InputError, match="zero, or orthogonal"):
            project_out(torch.zeros(2) if along is None else torch.ones(2), along=along)


def test_misuse():
    net, rgb, x = twin()
    with pytest.raises(UnknownNameError, match="did you mean 'stage1.x'"):
        with intervene(net, {"stage1.xx": zero()}):
            pass
    with pytest.raises(InputError, match="no edit"):
        with intervene(net, {}):
            pass
    with pytest.raises(InputError, match=r"maps to function; use zero\(\)"):
        with intervene(net, {"stage1.x": lambda v: v}):
            pass
    with pytest.raises(InputError, match=r"maps to function; use zero\(\)"):
        with intervene(net, {"stage1.x": zero}):  # forgot the brackets
            pass
    with pytest.raises(InputError, match="no forward pass reached stage1.x"):
        with intervene(net, {"stage1.x": zero()}):
            pass
    with pytest.raises(InputError, match="at 'stage2.x'"):
        with probe(net), intervene(net, {"stage2.x": edit(lambda v: v.flatten())}):
            net(rgb, x)
    assert_untapped(net)
