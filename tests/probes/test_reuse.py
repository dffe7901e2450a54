"""Passes that run only what has changed give what whole passes give, whatever is edited, shared or written in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.flop_counter import FlopCounterMode

from fusionzoo.errors import InputError
from fusionzoo.models import create_model
from fusionzoo.models.stages import run_stage
from fusionzoo.probes import Probe, Reuse, assert_untapped, edit, intervene, listen, patch, probe, zero
from tests.compare import SAME, distance
from tests.probes.nets import NAMES, twin


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


class Counted(nn.Conv2d):
    """Counts how often it is really run."""

    runs = 0

    def forward(self, value: Tensor) -> Tensor:
        self.runs += 1
        return super().forward(value)


def counted(net: nn.Module) -> dict[str, Counted]:
    found = {name: module for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    for module in found.values():
        module.__class__ = Counted
    return found  # type: ignore[return-value]


def runs(convs: dict[str, Counted]) -> set[str]:
    """Names of those that were run since the last call."""
    found = {name for name, conv in convs.items() if conv.runs}
    for conv in convs.values():
        conv.runs = 0
    return found


AFTER = {  # what must be run again, known from how the network is made: fused 1 goes into the rgb stream alone
    "stage1.rgb": {"rgb_conv.1", "head"},
    "stage1.x": {"rgb_conv.1", "x_conv.1", "head"},
    "stage1.fused": {"rgb_conv.1", "head"},
    "stage2.rgb": {"head"},
    "stage2.x": {"head"},
    "stage2.fused": {"head"},
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", [zero(), edit(lambda v: v.mul_(-2)), None])
def test_an_edit_runs_what_comes_after_it_and_nothing_else(name, change):
    net, rgb, x = twin()
    with probe(net, name) as tape:
        net(rgb.flip(0), x.flip(0))
    change = patch(tape[name]) if change is None else change
    with intervene(net, {name: change}):
        want = net(rgb, x)
    convs = counted(net)
    with Reuse(net, [name]) as reuse:
        with reuse.keeping("clean"):
            clean = net(rgb, x)
        assert runs(convs) == set(convs)
        for _ in range(2):
            with intervene(net, {name: change}):
                got = net(rgb, x)
            assert runs(convs) == AFTER[name]
            assert distance(got, want) < SAME < distance(got, clean)
        assert distance(net(rgb, x), clean) < SAME and not runs(convs)
        reuse.forget("clean")
        net(rgb, x)
        assert runs(convs) == set(convs)


def test_a_pass_with_one_other_input_runs_its_stream_and_is_kept_beside_the_first():
    net, rgb, x = twin()
    with intervene(net, {"stage2.rgb": zero()}):
        want = net(rgb, -x)
    convs = counted(net)
    with Reuse(net, NAMES) as reuse:
        with reuse.keeping("clean"):
            net(rgb, x)
        runs(convs)
        with reuse.keeping("other"):
            net(rgb.clone(), -x)  # equal values count, not the same tensor
        assert runs(convs) == {"x_conv.0", "x_conv.1", "rgb_conv.1", "head"}
        with intervene(net, {"stage2.rgb": zero()}):
            got = net(rgb, -x)
        assert runs(convs) == {"head"} and distance(got, want) < SAME
        reuse.forget("other")
        net(rgb, x)
        assert not runs(convs)
        net(rgb, -x)
        assert runs(convs) == {"x_conv.0", "x_conv.1", "rgb_conv.1", "head"}


def test_what_was_kept_is_used_while_it_is_replaced():
    net, rgb, x = twin()
    convs = counted(net)
    with Reuse(net, NAMES) as reuse:
        for turn, ran in enumerate([set(convs), set(), set(), {"x_conv.0", "x_conv.1", "rgb_conv.1", "head"}]):
            with reuse.keeping("edited", instead=True):
                net(rgb, x if turn < 3 else -x)
            assert runs(convs) == ran
        net(rgb, x)  # only the last pass is kept
        assert runs(convs) == {"x_conv.0", "x_conv.1", "rgb_conv.1", "head"}


def test_listeners_hear_every_pass():
    net, rgb, x = twin()
    heard = []
    with Reuse(net, NAMES) as reuse, listen(net, {"stage1.x": lambda name, value: heard.append(value.clone())}):
        with reuse.keeping("clean"):
            net(rgb, x)
        net(rgb, x)
    assert len(heard) == 2 and distance(heard[0], heard[1]) < SAME


class Awkward(nn.Module):
    """Writes into what modules gave, calls one module twice, gives a module two tensors, a list and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.point, self.mix = Probe(3), Mix()
        self.act = nn.ReLU(inplace=True)

    def forward(self, image: Tensor) -> Tensor:
        a = self.first(image)
        a += 1  # in what `first` made
        b = self.act(self.second(a))
        c = self.second(self.point(b))
        parts = self.mix([a, c], 0.5)
        parts.append(image)
        return parts[0] + 2 * self.mix([a, c], 2.0)[0] + parts[-1] + b


class Mix(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(3, 3, 1)

    def forward(self, both: list[Tensor], share: float) -> list[Tensor]:
        both.reverse()
        return [self.inner(both[1]) + share * both[0]]


@pytest.mark.parametrize("limit", [0, 8000, 2**20])
def test_what_is_written_in_place_or_called_twice(limit):
    torch.manual_seed(0)
    net, image = Awkward().eval(), torch.randn(2, 3, 8, 8)
    with intervene(net, {"point": zero()}):
        want = net(image)
    clean = net(image)
    with Reuse(net, ["point"], limit) as reuse:
        for _ in range(2):
            with reuse.keeping("clean"):
                assert distance(net(image), clean) < SAME
            for _ in range(2):
                with intervene(net, {"point": zero()}):
                    assert distance(net(image), want) < SAME
            assert distance(net(image + 1), clean) > 0.01
        assert (reuse.used > 0) == (limit > 0) and (reuse.needed > limit) == (limit < 2**20)


def test_it_leaves_nothing_behind_also_after_an_error():
    net, rgb, x = twin()
    with pytest.raises(ZeroDivisionError), Reuse(net, NAMES) as reuse, reuse.keeping("clean"):
        net(rgb, x)
        raise ZeroDivisionError
    assert not any("forward" in module.__dict__ for module in net.modules()) and net.relu.inplace
    assert_untapped(net)
    with pytest.raises(InputError, match="training mode"), Reuse(net.train(), NAMES):
        pass
    with torch.inference_mode(), Reuse(net.eval(), NAMES) as reuse:  # tensors without versions are not kept
        with reuse.keeping("clean"):
            clean = net(rgb, x)
        assert distance(net(rgb, x), clean) < SAME and reuse.used == 0


def test_a_compiled_model_runs_its_eager_code_meanwhile():
    torch._dynamo.reset()
    net, rgb, x = twin()
    want, counter = net(rgb, x), CompileCounterWithBackend("eager")
    net.compile(backend=counter, fullgraph=True)
    net(rgb, x)
    with Reuse(net, NAMES) as reuse:
        with reuse.keeping("clean"):
            net(rgb, x)
        assert distance(net(rgb, x), want) < SAME and reuse.used > 0
    assert distance(net(rgb, x), want) < SAME and counter.frame_count == 1
    torch._dynamo.reset()


def flops(run: Callable[..., object], *inputs: object) -> int:
    with FlopCounterMode(display=False) as counter:
        run(*inputs)
    return counter.get_total_flops()


def test_a_two_stream_model_runs_the_later_stages_of_one_stream_the_blocks_and_the_decoder():
    torch.manual_seed(0)
    model = create_model("concat_mobilenetv1-025_fpn", num_classes=3).eval()
    rgb, x = torch.randn(1, 3, 64, 64), torch.randn(1, 1, 64, 64)
    made, net = model.rgb_encoder(rgb), model.decoder.net
    block = {i: flops(model.get_submodule(f"stage{i}.fusion"), made[i], made[i]) for i in (2, 3, 4, 5)}
    skip = {i: flops(getattr(net, f"p{i}").skip_conv, made[i]) for i in (2, 3, 4)}
    decoder = flops(model.decoder, made) + flops(model.head, torch.zeros(1, model.decoder.out_channels, 16, 16))
    with Reuse(model, [f"stage{i}.x" for i in block]) as reuse:
        with reuse.keeping("clean"):
            assert flops(model, rgb, x) > 2 * flops(model.rgb_encoder, rgb)
        assert flops(model, rgb, x) == 0
        with intervene(model, {"stage5.x": edit(lambda v: v + 1)}):  # the finer stages enter the decoder as before
            last = flops(model, rgb, x)
        with intervene(model, {"stage4.x": edit(lambda v: v + 1)}):
            before = flops(model, rgb, x)
    assert last == block[5] + decoder - sum(skip.values())
    assert before - last == block[4] + skip[4] + flops(run_stage, model.x_encoder, 5, made[4])
