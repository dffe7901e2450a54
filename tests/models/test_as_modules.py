"""A model is its modules: what holds for any PyTorch module, for every strategy, every encoder family and every
published model. Copies run their own weights, children can be replaced, half precision and DDP work as they are."""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from fusionzoo.errors import InputError
from fusionzoo.models import FusionModel, create_model, list_fusions
from fusionzoo.probes import Reuse, edit, intervene
from tests.compare import SAME, distance
from tests.models.test_published import FAST, SLOW

COMPOSED = [
    *(f"{fusion}_mobilenetv1-025_fpn" for fusion in list_fusions()),
    *(f"concat_{encoder}_fpn" for encoder in ("resnet18", "mit-b0", "mobilenet-v2", "tu-convnext-atto", "vgg11")),
    *(f"sum_resnet18_{decoder}" for decoder in ("pspnet", "segformer")),
]
HEAVY = ("asymformer_b0t", "dformerv2_s", "dplnet_mit_b0", "esanet_r18_nbt1d", "stitchfusion_mit_b0", *SLOW)
NAMES = [*COMPOSED, *(n for n in FAST if n not in HEAVY), *(pytest.param(n, marks=pytest.mark.slow) for n in HEAVY)]
SMALL = {"fpn": {"pyramid_channels": 32, "segmentation_channels": 32}}


@functools.lru_cache(maxsize=1)  # the tests of one name stand one after the other
def built(name: str) -> FusionModel:
    torch.manual_seed(0)
    small = {"decoder_args": SMALL.get(name.rsplit("_", 1)[-1], {})} if name in COMPOSED else {}
    return create_model(name, num_classes=3, **small)


@pytest.fixture(params=NAMES, scope="module")
def model(request: pytest.FixtureRequest) -> FusionModel:
    """Shared by the tests of one name: they change copies only."""
    return built(request.param)


def raw(model: FusionModel, height: int = 33, width: int = 48, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    rgb = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=generator)
    return rgb, 1 + 3 * torch.rand(batch, model.x_channels, height, width, generator=generator)


@torch.inference_mode()
def run(model: nn.Module, like: FusionModel) -> Tensor:
    return model(*like.preprocess(*raw(like)))


def same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and float((a - b).abs().max()) <= 1e-4 * max(1.0, float(b.abs().max()))


def spoil(model: nn.Module) -> None:
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(0.8)


def held(value: Any, seen: set[int]) -> str | None:
    """The module, or the function that belongs to one object, that `value` holds on to."""
    if id(value) in seen:
        return None
    seen.add(id(value))
    if isinstance(value, nn.Module):
        return type(value).__name__
    if isinstance(value, types.MethodType):
        return held(value.__self__, seen)
    if isinstance(value, functools.partial):
        return held((value.func, value.args, value.keywords), seen)
    if isinstance(value, types.FunctionType):
        return f"function {value.__qualname__}" if value.__closure__ else None
    if isinstance(value, dict):
        value = list(value.items())
    if isinstance(value, list | tuple | set):
        return next((found for one in value if (found := held(one, seen))), None)
    return None


def test_nothing_beside_the_module_tree_holds_a_module(model: FusionModel) -> None:
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key not in ("_modules", "_parameters", "_buffers"):
                assert held(value, set()) is None, f"{name}.{key} holds {held(value, set())}"


def test_a_copy_is_independent_and_a_replaced_child_runs(model: FusionModel) -> None:
    before = run(model, model)
    other, replaced = copy.deepcopy(model), copy.deepcopy(model)
    spoil(other)
    assert same(run(model, model), before) and not same(run(other, model), before)
    for key, child in other.named_children():
        setattr(replaced, key, child)
    for name, _ in other.named_parameters(recurse=False):
        setattr(replaced, name, getattr(other, name))
    assert same(run(replaced, model), run(other, model))


def test_pickled_whole_it_is_the_same_model(model: FusionModel, tmp_path: Path) -> None:
    torch.save(model, tmp_path / "whole.pt")  # pickles it
    again = torch.load(tmp_path / "whole.pt", weights_only=False)
    assert same(run(again, model), run(model, model)) and again.preprocess == model.preprocess


def test_averaged_weights_are_what_runs(model: FusionModel) -> None:
    student = copy.deepcopy(model)
    average = AveragedModel(student)
    average.update_parameters(student)
    spoil(student)
    assert same(run(average, model), run(model, model))  # the average, not the student
    average.update_parameters(student)
    for mean, first, last in zip(average.module.parameters(), model.parameters(), student.parameters(), strict=True):
        torch.testing.assert_close(mean, (first + last) / 2, rtol=1e-4, atol=1e-5)
    assert not same(run(average, model), run(model, model))


@torch.no_grad()
def test_passes_that_reuse_what_an_edit_leaves_as_it_was_equal_whole_ones(model: FusionModel) -> None:
    model = copy.deepcopy(model).eval()
    inputs, probes = model.preprocess(*raw(model)), model.probe_points()
    stages = [at for _, at in sorted(model.levels.items())]
    points = [*list(stages[len(stages) // 2].values())[:2], *list(stages[-1].values())[-2:]]
    points += [name for name in probes if name.endswith("decoder.out")][-1:]
    whole = {}
    for point in points:
        with intervene(model, {point: edit(torch.neg)}):
            whole[point] = model(*inputs)
    with Reuse(model, points) as reuse:
        with reuse.keeping("clean"):
            clean = model(*inputs)
        assert same(clean, run(model, model))
        for point in points:
            used = reuse.used
            with intervene(model, {point: edit(torch.neg)}):
                got = model(*inputs)
            assert distance(got, whole[point]) < SAME, point
            assert reuse.used > used, point
        assert max(distance(value, clean) for value in whole.values()) > SAME


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_with_its_own_preprocess(model: FusionModel, dtype: torch.dtype) -> None:
    before = run(model, model)
    half = run(copy.deepcopy(model).to(dtype), model)
    assert half.dtype == dtype and half.shape == before.shape and bool(half.isfinite().all())
    assert float((half.float() - before).abs().max()) < 0.3 * float(before.abs().max())
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (37, 1), (2, 5)])
def test_any_size_from_one_pixel_up(model: FusionModel, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        out = model(*model.preprocess(*raw(model, *size)))
    assert out.shape == (2, 3, *size) and bool(out.isfinite().all())


class Both(nn.Module):
    """A loss of the plain forward pass, of `losses` or of all heads, as a training loop may wrap it."""

    def __init__(self, model: FusionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, rgb: Tensor, x: Tensor, what: str) -> Tensor:
        if what == "plain":
            return self.model(rgb, x).square().mean()
        if what == "sides":
            return torch.stack([v.square().mean() for v in self.model.side_scores(rgb, x)]).sum()
        logits, losses = self.model.losses(rgb, x, step=2)
        return logits.square().mean() + sum(losses.values(), torch.zeros(()))


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    store = tmp_path_factory.mktemp("group") / "store"
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_distributed_training_has_no_unused_parameter(model: FusionModel, group: None) -> None:
    student = copy.deepcopy(model).train()
    wrapped = nn.parallel.DistributedDataParallel(Both(student))
    inputs = model.preprocess(*raw(model, 32, 32))
    for what in ("plain", "losses", "sides", "plain"):  # a parameter that took no part is refused by the next step
        wrapped(*inputs, what).backward()
    assert all(p.grad is not None for p in student.parameters() if p.requires_grad)


def test_the_reached_parameters_get_no_other_gradient_than_before() -> None:
    """A plain forward pass in training: zero for the side heads, and for the rest what PyTorch's own graph gives."""
    model = create_model("esanet_r18_nbt1d", num_classes=3).train()
    rgb, x = model.preprocess(*raw(model, 32, 64))
    copied = copy.deepcopy(model)
    model(rgb, x).square().sum().backward()
    copied.scores(rgb, x).square().sum().backward()  # below the part that reaches all
    for (name, a), b in zip(model.named_parameters(), copied.parameters(), strict=True):
        assert a.grad is not None
        if b.grad is None:
            assert ".side." in name and not bool(a.grad.any())
        else:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4 * max(1.0, float(b.grad.abs().max())))
    assert any(p.grad is None for p in copied.parameters())


@pytest.mark.parametrize("name", ["esanet_r18_nbt1d", "sum_mobilenetv1-025_deeplabv3"])
def test_a_batch_of_one_that_cannot_be_trained_is_named(name: str) -> None:
    model = create_model(name, num_classes=3).train()
    rgb, x = model.preprocess(*raw(model, 64, 64, batch=1))
    for call in (model, model.losses):
        with pytest.raises(InputError, match="batch of one image cannot be trained.*of 2 or more.*--batch-size"):
            call(rgb, x)
    assert model.eval()(rgb, x).shape == (1, 3, 64, 64)


def test_inputs_that_are_no_preprocessed_images_are_refused() -> None:
    model = create_model("sum_mobilenetv1-025_fpn", num_classes=3)
    rgb, x = raw(model)
    with pytest.raises(InputError, match="rgb is torch.uint8; give what model.preprocess"):
        model(rgb, x)
    with pytest.raises(InputError, match="no image"):
        model(torch.zeros(0, 3, 8, 8), torch.zeros(0, 1, 8, 8))
    with pytest.raises(InputError, match="both modalities are None"):
        model(None, None)
    inputs = model.preprocess(rgb, x)
    model.requires_grad_(False)
    assert same(model(inputs[0], None), model(inputs[0], torch.zeros_like(inputs[1])))  # None: the mean
    assert same(model(None, inputs[1]), model(torch.zeros_like(inputs[0]), inputs[1]))
