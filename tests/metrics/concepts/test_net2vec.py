"""The net2vec-2018 recipe against a plain loop with autograd and torch's own upsampling and optimiser."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.metrics import net2vec_2018
from tests.compare import SAME, distance


def _problem(n: int = 40, c: int = 12, k: int = 4, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    small = torch.rand(n, k, 7, 9, generator=g) < 0.15
    small &= (torch.rand(n, k, generator=g) < 0.7)[:, :, None, None]
    masks = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    code = torch.randn(c, k, generator=g).relu()
    maps = torch.einsum("nkhw,ck->nchw", small.float(), code) + 0.3 * torch.randn(n, c, 7, 9, generator=g)
    train = torch.rand(n, generator=g) < 0.7
    masks[:, 3] &= ~train[:, None, None]  # concept 3 occurs in validation images only
    return maps.relu(), masks, train


def _plain(
    maps: Tensor, masks: Tensor, train: Tensor, init: Tensor, epochs: int, batch: int, lr: float
) -> tuple[list[list[float]], list[list[float]]]:
    """Weights and (validation, train, all) set IoUs per concept, written straight from the description."""
    n, c = maps.shape[:2]
    values = maps.permute(1, 0, 2, 3).reshape(c, -1).sort(1, descending=True).values
    above = round(0.005 * values.shape[1])
    threshold = values[:, above]  # `above` values are larger
    up = nn.Upsample(size=tuple(masks.shape[2:]), mode="bilinear", align_corners=True)
    weights, ious = [], []
    for concept in range(masks.shape[1]):
        images = [i for i in range(n) if train[i] and masks[i, concept].any()]
        if not images:
            weights.append([math.nan] * c)
            ious.append([math.nan] * 3)
            continue
        alpha = 1 - sum(float(masks[i, concept].double().mean()) for i in images) / len(images)
        w = nn.Parameter(init[concept].clone())
        sgd = torch.optim.SGD([w], lr=lr, momentum=0.9)
        for _ in range(epochs):
            for start in range(0, len(images), batch):
                loss = torch.zeros(())
                chosen = images[start : start + batch]
                for i in chosen:
                    b = (maps[i] > threshold[:, None, None]).float()
                    p = torch.sigmoid(up((w[:, None, None] * b).sum(0)[None, None])[0, 0])
                    label = masks[i, concept].float()
                    loss = loss - (alpha * label * p + (1 - alpha) * (1 - label) * (1 - p)).sum()
                sgd.zero_grad()
                (loss / len(chosen)).backward()
                sgd.step()
        both, either = [0, 0], [0, 0]
        for i in range(n):
            if masks[i, concept].any():
                b = (maps[i] > threshold[:, None, None]).float()
                marked = torch.sigmoid(up((w.detach()[:, None, None] * b).sum(0)[None, None])[0, 0]) > 0.5
                split = int(train[i])
                both[split] += int((marked & masks[i, concept]).sum())
                either[split] += int((marked | masks[i, concept]).sum())
        weights.append(w.tolist())
        iou = lambda a, b: a / b if b else math.nan  # noqa: E731
        ious.append([iou(both[0], either[0]), iou(both[1], either[1]), iou(sum(both), sum(either))])
    return weights, ious


@pytest.mark.parametrize(("lr", "epochs"), [(1e-4, 30), (1e-2, 5)])
def test_equals_a_plain_loop(lr: float, epochs: int) -> None:
    maps, masks, train = _problem()
    init = (torch.rand(4, 12, generator=torch.Generator().manual_seed(1)) * 2 - 1) / 12**0.5
    weights, ious = _plain(maps, masks, train, init, epochs, 16, lr)
    result = net2vec_2018(maps, masks, train, init=init, epochs=epochs, lr=lr)
    torch.testing.assert_close(result.weight, torch.tensor(weights), rtol=1e-4, atol=1e-5, equal_nan=True)
    got = torch.stack([result.iou, result.train_iou, result.all_iou], 1)
    torch.testing.assert_close(got, torch.tensor(ious, dtype=torch.float64), rtol=0, atol=2e-4, equal_nan=True)
    assert bool((result.losses[:3, -1] < result.losses[:3, 0]).all())  # it did train
    moved = (result.weight[:3] - init[:3]).abs().max()
    assert moved > 0.01 and bool(got[3].isnan().all())


def test_defaults_are_the_official_ones() -> None:
    maps, masks, train = _problem(seed=5)
    init = torch.zeros(4, 12)
    first = net2vec_2018(maps, masks, train, init=init)
    second = net2vec_2018(maps, masks, train, init=init, tau=0.005, epochs=30, batch_size=16, lr=1e-4, momentum=0.9)
    assert distance(second.weight.nan_to_num(), first.weight.nan_to_num()) < SAME
    assert first.losses.shape == (4, 30)
    same = net2vec_2018(maps, masks, train, seed=3)
    again = net2vec_2018(maps, masks, train, seed=3)
    assert distance(again.weight.nan_to_num(), same.weight.nan_to_num()) < SAME


def test_thresholds_leave_the_stated_share_above() -> None:
    maps = torch.rand(20, 3, 10, 10, generator=torch.Generator().manual_seed(0))
    result = net2vec_2018(maps, torch.rand(20, 1, 20, 20) > 0.5, torch.ones(20, dtype=torch.bool), epochs=1)
    assert (maps > result.thresholds[:, None, None]).sum((0, 2, 3)).tolist() == [10, 10, 10]


def test_wrong_shapes() -> None:
    maps, masks, train = _problem()
    with pytest.raises(InputError, match="need maps"):
        net2vec_2018(maps, masks[:-1], train)
    with pytest.raises(InputError, match="init must be"):
        net2vec_2018(maps, masks, train, init=torch.zeros(1, 1))
