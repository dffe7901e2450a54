"""The fast concept recipe: masks, statistics, curve and the whole, each against a plain computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor
from torch.nn import functional

from fusionzoo.errors import InputError
from fusionzoo.metrics import ConceptCurve, ConceptStatistics, Quantiles, concept_masks, net2vec_2018
from fusionzoo.metrics.concepts import (
    area_masks,
    grid_masks,
    minimum_channels,
    stack_weights,
)
from fusionzoo.metrics.concepts import statistics as concepts_module
from fusionzoo.metrics.concepts.masks import contains


def _labels(n: int = 5, k: int = 4, size: tuple[int, int] = (24, 32), seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, k, (n, *size), generator=g)
    labels[torch.rand(n, *size, generator=g) < 0.1] = 255
    return labels


class TestMasks:
    def test_area_is_the_pooled_one_hot(self) -> None:
        labels = _labels()
        masks, valid = concept_masks(labels, 4, (6, 8))
        one_hot = torch.stack([labels == c for c in range(4)], 1).float()
        torch.testing.assert_close(masks, functional.avg_pool2d(one_hot, 4))
        torch.testing.assert_close(valid, functional.avg_pool2d((labels != 255).float()[:, None], 4)[:, 0])

    def test_area_counts_every_pixel_once_on_any_grid(self) -> None:
        labels = _labels(size=(25, 37))
        masks, valid = concept_masks(labels, 4, (4, 7))
        torch.testing.assert_close(masks.sum(1), valid)
        rows = torch.tensor([sum(1 for y in range(25) if y * 4 // 25 == r) for r in range(4)])
        columns = torch.tensor([sum(1 for x in range(37) if x * 7 // 37 == c) for c in range(7)])
        pixels = (masks * rows[:, None] * columns).sum((0, 2, 3))
        torch.testing.assert_close(pixels, torch.stack([(labels == c).sum() for c in range(4)]).float())

    @pytest.mark.parametrize("size", [(6, 8), (7, 5), (48, 64)])
    def test_nearest_is_the_label_at_the_centre(self, size: tuple[int, int]) -> None:
        labels = _labels()
        masks, valid = concept_masks(labels, 4, size, mode="nearest")
        small = functional.interpolate(labels[:, None].float(), size=size, mode="nearest-exact")[:, 0]
        assert torch.equal(valid, small != 255)
        assert torch.equal(masks, torch.stack([small == c for c in range(4)], 1))

    @pytest.mark.parametrize("size", [(24, 32), (21, 35)])
    def test_masks_at_full_size_are_pooled(self, size: tuple[int, int]) -> None:
        g = torch.Generator().manual_seed(0)
        masks = (torch.rand(5, 3, *size, generator=g) < 0.1) & (torch.rand(5, 3, 1, 1, generator=g) < 0.6)
        grid = (size[0] // 3, size[1] // (4 if size[1] == 32 else 5))
        want = functional.adaptive_avg_pool2d(masks.float(), grid)
        torch.testing.assert_close(area_masks(masks, grid), want)
        assert torch.equal(contains(masks), masks.flatten(2).any(2)) and not bool(contains(masks).all())
        with pytest.raises(InputError, match="does not divide"):
            area_masks(masks, (5, 5))
        with pytest.raises(InputError, match="must be bool"):
            area_masks(masks.float(), grid)
        assert area_masks(torch.zeros(2, 0, 8, 8, dtype=torch.bool), (4, 4)).shape == (2, 0, 4, 4)

    @pytest.mark.parametrize("mode", ["area", "nearest"])
    @pytest.mark.parametrize("size", [(6, 8), (4, 7), (24, 32), (5, 32)])
    def test_masks_on_a_grid_are_those_of_their_labels(self, mode: str, size: tuple[int, int]) -> None:
        labels = _labels()
        known = labels != 255
        full = torch.stack([labels == c for c in range(4)], 1)
        masks, valid = grid_masks(full, size, known, mode)
        want_masks, want_valid = concept_masks(labels, 4, size, mode=mode)
        assert masks.dtype == want_masks.dtype and valid.dtype == want_valid.dtype
        torch.testing.assert_close(masks, want_masks)
        torch.testing.assert_close(valid, want_valid)
        torch.testing.assert_close(grid_masks(full | ~known[:, None], size, known, mode)[0], want_masks)  # cut to valid

    def test_masks_on_a_grid_wrong_input(self) -> None:
        masks = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
        with pytest.raises(InputError, match="finer than the masks"):
            grid_masks(masks, (8, 8))
        assert grid_masks(masks, (8, 8), mode="nearest")[0].shape == (1, 2, 8, 8)
        with pytest.raises(InputError, match="must be bool"):
            grid_masks(masks.float(), (2, 2))
        with pytest.raises(InputError, match="valid must be bool"):
            grid_masks(masks, (2, 2), torch.ones(1, 2, 2, dtype=torch.bool))
        with pytest.raises(InputError, match="unknown mode"):
            grid_masks(masks, (2, 2), mode="bilinear")

    def test_wrong_input(self) -> None:
        with pytest.raises(InputError, match="out of range: 3 with 3 classes"):
            concept_masks(_labels(), 3, (6, 8))
        with pytest.raises(InputError, match="finer than the labels"):
            concept_masks(_labels(), 4, (48, 64))
        with pytest.raises(InputError, match="unknown mode"):
            concept_masks(_labels(), 4, (6, 8), mode="bilinear")
        with pytest.raises(InputError, match="integers"):
            concept_masks(torch.zeros(1, 4, 4), 4, (2, 2))


def _maps(n: int, c: int, size: tuple[int, int], seed: int = 1) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, c, *size, generator=g) @ torch.randn(size[1], size[1], generator=g) + 3


class TestStatistics:
    @pytest.mark.parametrize("share", [None, 0.02, 0.4])
    def test_is_the_ridge_regression_over_labelled_pixels(self, share: float | None) -> None:
        labels, maps = _labels(), _maps(5, 7, (6, 8))
        thresholds = None if share is None else torch.quantile(maps.transpose(0, 1).flatten(1), 1 - share, dim=1)
        masks, valid = concept_masks(labels, 4, (6, 8))
        statistics = ConceptStatistics(7, 4, thresholds)
        statistics.update(maps[:2], masks[:2], valid[:2])
        statistics.update(maps[2:], masks[2:], valid[2:])
        weights = statistics.solve(ridge=0.05)

        binary = maps if thresholds is None else (maps > thresholds[:, None, None]).float()
        big = binary.repeat_interleave(4, 2).repeat_interleave(4, 3).permute(0, 2, 3, 1)
        x = big[labels != 255].double().numpy()
        t = functional.one_hot(labels[labels != 255], 4).double().numpy()
        z = (x - x.mean(0)) / x.std(0)
        fit = Ridge(alpha=0.05 * len(z)).fit(z, t).predict(z)
        want = (fit - fit.mean(0)) / fit.std(0)
        scores = weights.score(maps).repeat_interleave(4, 2).repeat_interleave(4, 3).permute(0, 2, 3, 1)
        np.testing.assert_allclose(scores[labels != 255].numpy(), want, atol=2e-4)
        r2 = 1 - ((t - fit) ** 2).mean(0) / t.var(0)
        np.testing.assert_allclose(weights.r2.numpy(), r2, atol=1e-9)

    @pytest.mark.parametrize("channels", [9, 8])  # in whole words of eight values, and not
    def test_sparse_and_dense_sums_and_scores_agree(self, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
        maps = _maps(3, channels, (6, 8))[..., 1:]
        thresholds = torch.quantile(maps.transpose(0, 1).flatten(1), 0.8, dim=1)
        masks, valid = concept_masks(_labels(3), 4, (6, 7))
        states, scores = [], []
        for limit in (0.0, 1.0):
            monkeypatch.setattr(concepts_module, "SPARSE", limit)
            statistics = ConceptStatistics(channels, 4, thresholds)
            statistics.update(maps, masks, valid)
            states.append(statistics.state_dict())
            scores.append(statistics.solve().score(maps))
        for name, value in states[0].items():
            torch.testing.assert_close(states[1][name], value, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(scores[1], scores[0], rtol=1e-4, atol=1e-5)

    def test_masks_count_on_labelled_positions_only(self) -> None:
        maps, masks = _maps(4, 5, (6, 8)), torch.rand(4, 2, 6, 8, generator=torch.Generator().manual_seed(0)) < 0.4
        valid = torch.rand(4, 6, 8, generator=torch.Generator().manual_seed(1)) < 0.6
        loose, strict = ConceptStatistics(5, 2), ConceptStatistics(5, 2)
        loose.update(maps, masks, valid)
        strict.update(maps, masks & valid[:, None], valid)
        for name, value in strict.state_dict().items():
            torch.testing.assert_close(loose.state_dict()[name], value, rtol=1e-12, atol=1e-12, msg=name)

    def test_merged_halves_solve_like_the_whole(self) -> None:
        maps, (masks, valid) = _maps(6, 5, (6, 8)), concept_masks(_labels(6), 4, (6, 8))
        whole, one, two = (ConceptStatistics(5, 4) for _ in range(3))
        whole.update(maps, masks, valid)
        one.update(maps[::2], masks[::2], valid[::2])
        two.update(maps[1::2], masks[1::2], valid[1::2])
        torch.testing.assert_close(one.merge(two).solve().weight, whole.solve().weight, rtol=1e-6, atol=1e-6)

    def test_dead_channels_and_absent_concepts(self) -> None:
        maps = _maps(4, 5, (6, 8))
        maps[:, 2] = 0.7
        masks, valid = concept_masks(_labels(4, k=3), 4, (6, 8))  # concept 3 never occurs
        statistics = ConceptStatistics(5, 4)
        statistics.update(maps, masks, valid)
        weights = statistics.solve()
        assert weights.present.tolist() == [True, True, True, False] and math.isnan(weights.r2[3])
        assert bool((weights.weight[:, 2] == 0).all()) and bool((weights.weight[3] == 0).all())
        assert bool(torch.isfinite(weights.score(maps)).all())

    def test_unit_iou_is_that_of_each_channel_over_images_with_the_concept(self) -> None:
        g = torch.Generator().manual_seed(4)
        binary = torch.rand(6, 3, 5, 5, generator=g) < 0.3
        masks = torch.rand(6, 2, 5, 5, generator=g) < 0.2
        masks[:3, 1] = False
        statistics = ConceptStatistics(3, 2)
        statistics.update(binary[:4], masks[:4])
        statistics.update(binary[4:], masks[4:])
        for k in range(2):
            for c in range(3):
                images = [i for i in range(6) if masks[i, k].any()]
                both = sum(int((binary[i, c] & masks[i, k]).sum()) for i in images)
                either = sum(int((binary[i, c] | masks[i, k]).sum()) for i in images)
                assert float(statistics.unit_iou()[k, c]) == pytest.approx(both / either, abs=1e-12)

    def test_wrong_input(self) -> None:
        statistics = ConceptStatistics(3, 2)
        with pytest.raises(InputError, match="no labelled positions"):
            statistics.solve()
        with pytest.raises(InputError, match=r"masks must be \(1, 2, 4, 4\) like the maps"):
            statistics.update(torch.randn(1, 3, 4, 4), torch.zeros(1, 2, 8, 8))
        with pytest.raises(InputError, match=r"maps must be \(B, 3, h, w\)"):
            statistics.update(torch.randn(1, 4, 4, 4), torch.zeros(1, 2, 4, 4))
        with pytest.raises(InputError, match="not finite"):
            statistics.update(torch.full((1, 3, 2, 2), float("nan")), torch.zeros(1, 2, 2, 2))
        with pytest.raises(InputError, match="one threshold per channel"):
            ConceptStatistics(3, 2, torch.zeros(2))


class TestTopChannels:
    @staticmethod
    def _statistics(n: int = 6, c: int = 7) -> tuple[ConceptStatistics, Tensor, Tensor, Tensor]:
        maps, (masks, valid) = _maps(n, c, (6, 8)), concept_masks(_labels(n), 4, (6, 8))
        maps = maps * torch.logspace(-2, 2, c)[:, None, None]  # scales must not decide which channel weighs most
        maps[:, 1] += 0.05 * masks[:, 0]
        maps[:, 5] += 300 * masks[:, 0]
        statistics = ConceptStatistics(c, 4)
        statistics.update(maps, masks, valid)
        return statistics, maps, masks, valid

    def test_order_is_that_of_standardised_weights(self) -> None:
        statistics, maps, masks, valid = self._statistics()
        v, x = valid.flatten().double(), maps.permute(0, 2, 3, 1).reshape(-1, 7).double()
        mean = (v[:, None] * x).sum(0) / v.sum()
        sd = ((v[:, None] * (x - mean).square()).sum(0) / v.sum()).sqrt()
        t = torch.minimum(masks.permute(0, 2, 3, 1).reshape(-1, 4).double(), v[:, None]) / v[:, None].clamp(min=1e-9)
        z = (x - mean) / sd
        fit = Ridge(alpha=0.01 * float(v.sum())).fit(z.numpy(), t.numpy(), sample_weight=v.numpy())
        want = np.argsort(-np.abs(fit.coef_), axis=1)
        np.testing.assert_array_equal(statistics.channel_order(0.01).numpy(), want)
        # the refit with the best three is the regression on these three
        for k, row in enumerate(want[:, :3]):
            small = Ridge(alpha=0.01 * float(v.sum())).fit(z[:, row].numpy(), t[:, k].numpy(), sample_weight=v.numpy())
            got = statistics.solve_tops([6, 3], 0.01)[1].weight[k].double() * sd
            assert set(got.nonzero().flatten().tolist()) == set(row.tolist())
            ratio = got[row.tolist()].numpy() / small.coef_
            np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)  # scores are standardised: the same up to scale

    def test_all_channels_are_the_full_solve_and_r2_grows(self) -> None:
        statistics, *_ = self._statistics()
        full = statistics.solve(0.01)
        torch.testing.assert_close(statistics.solve_top(7, 0.01).weight, full.weight, rtol=1e-5, atol=1e-7)
        r2 = torch.stack([statistics.solve_top(n, 1e-6).r2 for n in range(1, 8)])
        together = torch.stack([weights.r2 for weights in statistics.solve_tops(range(1, 8), 1e-6)])
        torch.testing.assert_close(together, r2, rtol=1e-9, atol=1e-12)
        assert bool((r2[-1] >= r2 - 1e-9).all())
        with pytest.raises(InputError, match="1 to 7"):
            statistics.solve_tops([3, 8])

    def test_stacked_detectors_score_side_by_side(self) -> None:
        statistics, maps, *_ = self._statistics()
        one, two = statistics.solve(), statistics.solve_top(2)
        joined = stack_weights([one, two]).score(maps)
        torch.testing.assert_close(joined, torch.cat([one.score(maps), two.score(maps)], 1))
        other = ConceptStatistics(7, 4, torch.zeros(7))
        other.update(maps, *concept_masks(_labels(6), 4, (6, 8)))
        with pytest.raises(InputError, match="share channels and thresholds"):
            stack_weights([one, other.solve()])

    def test_minimum_number_of_channels(self) -> None:
        nan = math.nan
        scores = torch.tensor([[0.30, 0.10, nan, 0.22], [0.45, 0.20, nan, 0.28], [0.50, 0.30, nan, 0.30]])
        full = torch.tensor([0.50, 0.50, nan, 0.30])
        assert minimum_channels([1, 4, 8], scores, full).tolist() == [4, 0, 0, 4]
        chance = torch.tensor([0.0, 0.0, 0.1, 0.2])
        assert minimum_channels([1, 4, 8], scores, full, chance=chance).tolist() == [4, 0, 0, 8]
        assert minimum_channels([1, 4, 8], scores, full, share=0.6).tolist() == [1, 8, 0, 1]
        with pytest.raises(InputError, match="counts must rise"):
            minimum_channels([4, 1, 8], scores, full)


class TestCurve:
    def _data(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        g = torch.Generator().manual_seed(7)
        masks = (torch.rand(12, 3, 8, 9, generator=g) < 0.3) & (torch.rand(12, 3, generator=g) < 0.7)[:, :, None, None]
        scores = torch.randn(12, 3, 8, 9, generator=g) * 3 + 4 * masks
        valid = torch.rand(12, 8, 9, generator=g) < 0.9
        train = torch.arange(12) % 3 == 0
        group = torch.arange(12) // 3
        return scores, masks, valid, train, group

    @pytest.mark.parametrize("images", ["containing", "all"])
    def test_every_point_of_the_curve_is_the_set_iou(self, images: str) -> None:
        scores, masks, valid, train, group = self._data()
        curve = ConceptCurve(3, bins=64, groups=4, images=images)
        for part in (slice(0, 5), slice(5, 12)):
            curve.update(scores[part], masks[part], valid[part], train=train[part], group=group[part])
        result = curve.compute()

        def set_iou(k: int, threshold: float, chosen: list[int]) -> float:
            both = either = 0
            for i in chosen:
                label, marked = masks[i, k] & valid[i], (scores[i, k] >= threshold) & valid[i]
                if images == "all" or label.any():
                    both += int((label & marked).sum())
                    either += int((label | marked).sum())
            return both / either

        rest, learn = (~train).nonzero().flatten().tolist(), train.nonzero().flatten().tolist()
        for k in range(3):
            # a score that lies on an edge to rounding may fall on either side of it
            want = [set_iou(k, float(e), rest) for e in result.edges]
            np.testing.assert_allclose(result.curve[k].numpy(), want, atol=1e-12)
            on_train = [set_iou(k, float(e), learn) for e in result.edges]
            best = int(np.argmax(on_train))
            assert float(result.threshold[k]) == float(result.edges[best])
            assert float(result.train_iou[k]) == pytest.approx(max(on_train), abs=1e-12)
            assert float(result.iou[k]) == pytest.approx(want[best], abs=1e-12)
            without = [set_iou(k, float(result.edges[best]), [i for i in rest if int(group[i]) != g]) for g in range(4)]
            se = math.sqrt(3 / 4 * sum((v - sum(without) / 4) ** 2 for v in without))
            assert float(result.iou_se[k]) == pytest.approx(se, abs=1e-12)
            held = (masks[:, k] & valid).flatten(1).any(1)
            assert int(result.n_train[k]) == int((held & train).sum())
            assert int(result.n_eval[k]) == int((held & ~train).sum())

    def test_small_scores_are_upsampled_to_the_masks(self) -> None:
        scores, masks, valid, train, _ = self._data()
        small = scores[:, :, ::2, ::2]
        one, two = ConceptCurve(3), ConceptCurve(3)
        one.update(small, masks, valid, train=train)
        big = functional.interpolate(small, size=(8, 9), mode="bilinear", align_corners=False)
        two.update(big, masks, valid, train=train)
        assert torch.equal(one.state_dict()["counts"], two.state_dict()["counts"])

    def test_concepts_missing_from_a_half_are_nan(self) -> None:
        scores, masks, valid, train, _ = self._data()
        masks[:, 1] &= train[:, None, None]
        masks[:, 2] = False
        curve = ConceptCurve(3)
        curve.update(scores, masks, valid, train=train)
        iou = curve.compute().iou
        assert iou.isnan().tolist() == [False, True, True]

    def test_input_scores_are_not_changed(self) -> None:
        scores, masks, valid, _, _ = self._data()
        before = scores.clone()
        ConceptCurve(3).update(scores, masks, valid)
        assert torch.equal(scores, before)

    def test_wrong_input(self) -> None:
        scores, masks, valid, _, _ = self._data()
        curve = ConceptCurve(3, groups=2)
        with pytest.raises(InputError, match="keeps 2 groups"):
            curve.update(scores, masks, group=2)
        with pytest.raises(InputError, match=r"scores must be \(B, 3, h, w\)"):
            curve.update(scores[:, :2], masks)
        with pytest.raises(InputError, match="valid must be"):
            curve.update(scores, masks, valid[:, :2])
        with pytest.raises(InputError, match="not finite"):
            curve.update(scores * float("nan"), masks)
        with pytest.raises(InputError, match="unknown images"):
            ConceptCurve(3, images="some")


class TestWhole:
    @staticmethod
    def _planted(n: int = 60, c: int = 24, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Concept 0 is coded by channels 0-3 together, 1 by channel 7 alone, 2 nowhere."""
        g = torch.Generator().manual_seed(seed)
        small = torch.nn.functional.max_pool2d((torch.rand(n, 3, 8, 8, generator=g) < 0.03).float(), 3, 1, 1) > 0
        maps = torch.randn(n, c, 8, 8, generator=g)
        for k, channel in ((0, 0), (0, 1), (0, 2), (0, 3), (1, 7)):
            maps[:, channel] += (1.5 if k == 0 else 4.0) * small[:, k]
        masks = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
        return maps, masks, torch.arange(n) % 2 == 0

    @staticmethod
    def _fast(maps: Tensor, masks: Tensor, train: Tensor, tau: float | None) -> tuple[Tensor, Tensor]:
        thresholds = None
        if tau is not None:
            sketch = Quantiles(maps.shape[1], tau)
            sketch.update(maps)
            thresholds = sketch.compute()
        statistics = ConceptStatistics(maps.shape[1], masks.shape[1], thresholds)
        small = functional.avg_pool2d(masks.float(), 4)
        statistics.update(maps[train], small[train])
        weights, curve = statistics.solve(), ConceptCurve(masks.shape[1])
        curve.update(weights.score(maps), masks, train=train)
        return curve.compute().iou, statistics.unit_iou().amax(1)

    def test_counts_the_channels_that_carry_a_concept(self) -> None:
        maps, masks, train = self._planted(n=80)
        small = functional.avg_pool2d(masks.float(), 4)
        statistics = ConceptStatistics(24, 3)
        statistics.update(maps[train], small[train])
        counts = [1, 2, 3, 4, 8, 16]
        joined = stack_weights([*(statistics.solve_top(n) for n in counts), statistics.solve()])
        curve = ConceptCurve(3 * 7)
        curve.update(joined.score(maps), masks.repeat(1, 7, 1, 1), train=train)
        scores = curve.compute()
        iou, chance = scores.iou.view(7, 3), scores.curve[:3, 0]
        # one concept is coded by four channels together, the other by one; the fourth adds the last 7 %
        assert minimum_channels(counts, iou[:-1], iou[-1], share=0.97, chance=chance).tolist()[:2] == [4, 1]
        assert minimum_channels(counts, iou[:-1], iou[-1], share=0.9, chance=chance).tolist()[:2] == [3, 1]
        assert float(iou[-1, 2] - chance[2]) < 0.05  # the third by none

    def test_finds_planted_codes(self) -> None:
        maps, masks, train = self._planted()
        iou, unit = self._fast(maps, masks, train, tau=0.1)
        raw, _ = self._fast(maps, masks, train, tau=None)
        area = [float(masks[masks[:, k].flatten(1).any(1) & ~train, k].float().mean()) for k in range(3)]
        assert raw[0] > 0.5 and raw[1] > 0.6
        assert iou[0] > unit[0] + 0.1  # several channels together beat the best one
        assert abs(iou[2] - area[2]) < 0.05 and abs(raw[2] - area[2]) < 0.05  # no code: marking everything is best
        reference = net2vec_2018(maps, masks, train, tau=0.1)
        assert iou[0] > reference.iou[0] and iou[1] > reference.iou[1]
