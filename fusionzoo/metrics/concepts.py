"""Concept set IoU of a probe point, fast: quantiles, one ridge solve for all concepts, a calibrated threshold.

After Net2Vec (Fong and Vedaldi 2018): a concept is encoded where a weighted sum of thresholded channels marks its pixels.
Three passes with fixed-size states; memory does not depend on the number of images:

1. `Quantiles` (sketch.py): a threshold per channel, P(A > T) = tau.
2. `ConceptStatistics`, images of the train half: X'X and X'T of the channels (binarised, or raw) and all concept masks, at
   the map's own resolution, with masks given as area fractions; then one ridge solve for all concepts at once.
3. `ConceptCurve`: histograms of the scores inside and outside each concept. They give the set IoU for every threshold, so
   the threshold is chosen on the train half and the set IoU is read off the other half.

Set IoU(c) = sum |M_c and L_c| / sum |M_c or L_c|, sums over the images that contain c (as in Net2Vec) unless told
otherwise. Scores are upsampled bilinearly to ONE evaluation grid, the same for all probe points, since their IoUs are
compared; masks come to that grid by the label at the cell's centre (`concept_masks(..., mode="nearest")`). A quarter of
the input's height and width is fine enough for every level and cheap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import Accumulator, MetricInfo, accumulates
from fusionzoo.metrics.net2vec import Net2VecResult, net2vec_2018
from fusionzoo.metrics.resample import jackknife
from fusionzoo.metrics.sketch import Quantiles

__all__ = [
    "ConceptCurve",
    "ConceptScores",
    "ConceptStatistics",
    "ConceptWeights",
    "Net2VecResult",
    "Quantiles",
    "concept_masks",
    "net2vec_2018",
]

SCORE_LIMIT = 1000.0  # standard deviations; histogram bins are even in asinh(score)


def concept_masks(
    labels: Tensor, num_classes: int, size: tuple[int, int], ignore_index: int = 255, mode: str = "area"
) -> tuple[Tensor, Tensor]:
    """Concept masks on a grid from a label map.

    Args:
        labels: (B, H, W) integers, 0 .. K-1 or `ignore_index`.
        num_classes: K.
        size: (h, w) of the grid.
        mode: "area" (share of the cell's pixels, for the statistics; the grid must not be finer than the labels) or
            "nearest" (the label of the pixel at the cell's centre, for the curve).

    Returns:
        masks (B, K, h, w) and valid (B, h, w): float32 shares of the cell for "area", bool for "nearest".

    Raises:
        InputError: not integers, out of range, unknown mode, or a grid finer than the labels in "area".

    >>> masks, valid = concept_masks(torch.tensor([[[0, 1], [1, 255]]]), 2, (1, 1))
    >>> masks.flatten().tolist(), valid.flatten().tolist()
    ([0.25, 0.5], [0.75])
    """
    if labels.ndim != 3 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(f"labels must be integers (B, H, W), got {labels.dtype} {tuple(labels.shape)}")
    labels = labels.long()
    b, (height, width), (h, w) = labels.shape[0], labels.shape[1:], size
    known = labels != ignore_index
    wrong = labels[known & ((labels < 0) | (labels >= num_classes))]
    if wrong.numel():
        raise InputError(
            f"labels out of range: {int(wrong[0])} with {num_classes} classes "
            f"(valid 0 .. {num_classes - 1}, ignore {ignore_index})"
        )
    labels = torch.where(known, labels, num_classes)
    rows, columns = torch.arange(height, device=labels.device), torch.arange(width, device=labels.device)
    if mode == "nearest":
        y = ((torch.arange(h, device=labels.device) + 0.5) * height / h).long()
        x = ((torch.arange(w, device=labels.device) + 0.5) * width / w).long()
        small = labels[:, y[:, None], x]
        masks = small[:, None] == torch.arange(num_classes, device=labels.device)[:, None, None]
        return masks, small < num_classes
    if mode != "area":
        raise InputError(f"unknown mode {mode!r}: use 'area' or 'nearest'")
    if h > height or w > width:
        raise InputError(f"grid {h}x{w} is finer than the labels {height}x{width}: use mode 'nearest'")
    cell = (rows * h // height)[:, None] * w + columns * w // width
    k = num_classes + 1
    place = (torch.arange(b, device=labels.device)[:, None, None] * (h * w) + cell) * k + labels
    counts = torch.bincount(place.flatten(), minlength=b * h * w * k).view(b, h, w, k).float()
    share = counts / counts.sum(-1, keepdim=True)
    return share[..., :num_classes].permute(0, 3, 1, 2).contiguous(), 1 - share[..., num_classes]


@dataclass(frozen=True)
class ConceptWeights:
    """A linear detector per concept.

    Scores are standardised over the positions of the train half: mean 0, standard deviation 1 (0 everywhere for concepts
    that are absent or that no channel correlates with).

    Attributes:
        weight: (K, C) float32.
        bias: (K,) float32.
        present: (K,) bool, concepts seen in training.
        r2: (K,) float64 share of the concept's variance that the channels explain; NaN where absent.
        thresholds: (C,) float32 that binarise the channels first, or None for raw channels.
    """

    weight: Tensor
    bias: Tensor
    present: Tensor
    r2: Tensor
    thresholds: Tensor | None

    def score(self, maps: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """(B, K, H, W) float32 scores of maps (B, C, h, w), upsampled bilinearly to `size` where given."""
        maps = maps.detach()
        with torch.no_grad(), torch.autocast(maps.device.type, enabled=False):
            weight, bias = self.weight.to(maps.device), self.bias.to(maps.device)
            if self.thresholds is not None:
                maps = maps > self.thresholds.to(maps.device)[:, None, None]
            scores = functional.conv2d(maps.float(), weight[:, :, None, None], bias)
            if size is not None and tuple(size) != tuple(scores.shape[2:]):
                scores = functional.interpolate(scores, size=size, mode="bilinear", align_corners=False)
        return scores


class ConceptStatistics(Accumulator):
    """Sufficient statistics of channels and concept masks: one Gram matrix shared by all concepts.

    Args:
        channels: C.
        concepts: K.
        thresholds: (C,) to binarise the maps inside `update` (channel > threshold); None to take them as they come.

    >>> g = torch.Generator().manual_seed(0)
    >>> maps = torch.randn(2, 4, 8, 8, generator=g)
    >>> statistics = ConceptStatistics(4, 1)
    >>> statistics.update(maps, maps[:, 2:3] > 1)
    >>> int(statistics.solve().weight.abs().argmax())
    2
    """

    info = MetricInfo(
        name="concept statistics",
        low=None,
        high=None,
        larger_is="",
        invariant_to=("order of images",),
        cost="state C^2 + 2 C K float64; O(n C (C + K))",
        source="least squares on Net2Vec's binarised channels; shared Gram of ours",
    )

    def __init__(self, channels: int, concepts: int, thresholds: Tensor | None = None) -> None:
        super().__init__()
        if channels < 1 or concepts < 1:
            raise InputError(f"channels and concepts must be at least 1, got {channels} and {concepts}")
        if thresholds is not None and tuple(thresholds.shape) != (channels,):
            raise InputError(f"one threshold per channel: expected ({channels},), got {tuple(thresholds.shape)}")
        self.channels, self.concepts = channels, concepts
        self.thresholds = None if thresholds is None else thresholds.detach().float()
        shapes: dict[str, tuple[int, ...]] = {
            "weight": (),
            "sum_x": (channels,),
            "gram": (channels, channels),
            "sum_t": (concepts,),
            "cross": (channels, concepts),
            "area": (channels, concepts),
        }
        self._state = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}
        self._state["images"] = torch.zeros(concepts, dtype=torch.int64)

    def _config(self) -> dict[str, object]:
        digest = None if self.thresholds is None else tuple(self.thresholds.tolist())
        return {"channels": self.channels, "concepts": self.concepts, "thresholds": digest}

    @accumulates
    def update(self, maps: Tensor, masks: Tensor, valid: Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            maps: (B, C, h, w); raw, or binary where no thresholds were given.
            masks: (B, K, h, w) bool, or the share of each cell that belongs to the concept, 0 to 1.
            valid: (B, h, w) bool, or the share of each cell that is labelled; all of it when None.

        Raises:
            InputError: shapes do not fit, or values are not finite.
        """
        maps, masks, valid = self._checked(maps, masks, valid)
        b, c = maps.shape[:2]
        if self.thresholds is not None:
            maps = maps > self.thresholds.to(maps.device)[:, None, None]
        # counts of binary maps are exact in float32 within a batch; raw values need float64
        kind = torch.float32 if maps.dtype == torch.bool and b * maps[0, 0].numel() < 1 << 23 else torch.float64
        x = maps.to(kind).flatten(2)
        v = valid.to(kind).flatten(1)
        t = torch.minimum(masks.to(kind).flatten(2), v[:, None])
        xv = x * v[:, None]
        images = t.amax(2) > 0
        per_image = xv.sum(2)
        flat = lambda m: m.transpose(0, 1).reshape(m.shape[1], -1)  # noqa: E731
        x, xv, t = flat(x), flat(xv), flat(t)
        state = self._state
        state["weight"] += v.double().sum()
        state["sum_x"] += per_image.double().sum(0)
        state["gram"] += (xv @ x.T).double()
        state["sum_t"] += t.double().sum(1)
        state["cross"] += (x @ t.T).double()
        state["area"] += per_image.double().T @ images.double()
        state["images"] += images.sum(0)
        if not bool(torch.isfinite(state["sum_x"]).all()):
            raise InputError("maps have values that are not finite (NaN or infinity)")

    def _checked(self, maps: Tensor, masks: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        if maps.ndim != 4 or maps.shape[1] != self.channels:
            raise InputError(f"maps must be (B, {self.channels}, h, w), got {tuple(maps.shape)}")
        want = (maps.shape[0], self.concepts, *maps.shape[2:])
        if tuple(masks.shape) != want:
            raise InputError(f"masks must be {want} like the maps, got {tuple(masks.shape)}: see concept_masks")
        if valid is None:
            valid = torch.ones_like(masks[:, 0], dtype=torch.bool)
        if valid.shape != masks[:, 0].shape:
            raise InputError(f"valid must be {tuple(masks[:, 0].shape)}, got {tuple(valid.shape)}")
        return maps, masks, valid

    def solve(self, ridge: float = 1e-3) -> ConceptWeights:
        """Ridge regression of every concept on the standardised channels, one factorisation for all.

        Args:
            ridge: added to the diagonal of the correlation matrix.

        Raises:
            InputError: nothing seen yet, or a negative ridge.
        """
        state, n = self._state, float(self._state["weight"])
        if not n > 0:
            raise InputError("no labelled positions yet: call update first")
        if ridge < 0:
            raise InputError(f"ridge must not be negative, got {ridge}")
        mean_x, mean_t = state["sum_x"] / n, state["sum_t"] / n
        covariance = state["gram"] / n - torch.outer(mean_x, mean_x)
        cross = state["cross"] / n - torch.outer(mean_x, mean_t)
        variance = covariance.diagonal()
        alive = variance > 1e-12 * (mean_x.square() + variance.mean())
        scale = torch.where(alive, variance.clamp(min=1e-300).rsqrt(), 0.0)
        correlation = covariance * torch.outer(scale, scale)
        eye = torch.eye(self.channels, dtype=torch.float64, device=scale.device)
        system = torch.where(torch.outer(alive, alive), correlation, eye) + max(ridge, 1e-9) * eye
        beta = torch.cholesky_solve(scale[:, None] * cross, torch.linalg.cholesky(system))
        weight = (scale[:, None] * beta).T
        spread = (weight @ covariance * weight).sum(1).clamp(min=0).sqrt()
        present = state["images"] > 0
        variance_t = mean_t * (1 - mean_t)
        r2 = (2 * (weight * cross.T).sum(1) - spread.square()) / variance_t
        gain = torch.where(present & (spread > 1e-9), 1 / spread.clamp(min=1e-300), 0.0)
        weight = gain[:, None] * weight
        return ConceptWeights(
            weight=weight.float().cpu(),
            bias=-(weight @ mean_x).float().cpu(),
            present=present.cpu(),
            r2=torch.where(present & (variance_t > 0), r2, torch.nan).cpu(),
            thresholds=None if self.thresholds is None else self.thresholds.cpu(),
        )

    def unit_iou(self) -> Tensor:
        """(K, C) float64 set IoU of each single binarised channel with each concept, at the map's resolution, over the
        images seen that contain the concept; NaN for absent concepts (network dissection's one-unit baseline)."""
        state = self._state
        hit = state["cross"].T
        union = state["area"].T + state["sum_t"][:, None] - hit
        iou = torch.where(union > 0, hit / union, 0.0)
        return torch.where((state["images"] > 0)[:, None], iou, torch.nan).cpu()


@dataclass(frozen=True)
class ConceptScores:
    """Set IoU of each concept at one probe point; NaN where the concept is absent from either half.

    Attributes:
        iou: (K,) float64 on the evaluation half, at the threshold chosen on the train half.
        iou_se: (K,) block jackknife standard error of `iou` with that threshold; NaN with fewer than two groups.
        train_iou: (K,) on the train half at the same threshold.
        threshold: (K,) score above which a position is marked.
        curve: (K, bins) set IoU on the evaluation half over `edges`.
        edges: (bins,) the thresholds of the curve.
        n_train, n_eval: (K,) images that contain the concept.
    """

    iou: Tensor
    iou_se: Tensor
    train_iou: Tensor
    threshold: Tensor
    curve: Tensor
    edges: Tensor
    n_train: Tensor
    n_eval: Tensor


class ConceptCurve(Accumulator):
    """Histograms of scores inside and outside each concept, for the train half and for groups of the other half.

    Args:
        concepts: K.
        bins: score bins, even in asinh(score) up to 1000 standard deviations either way.
        groups: groups of evaluation images kept apart for the block jackknife; state is (1 + groups) x K x 2 x bins.
        images: "containing" counts only images that contain the concept (Net2Vec), "all" counts every image.
    """

    info = MetricInfo(
        name="concept set IoU",
        low=0.0,
        high=1.0,
        larger_is="better encoded",
        invariant_to=("order of images", "scaling and shift of the scores"),
        cost="state (1 + groups) x 2 K bins integers; O(n K)",
        source="set IoU: Fong and Vedaldi 2018 (Net2Vec)",
    )

    def __init__(self, concepts: int, bins: int = 512, groups: int = 1, images: str = "containing") -> None:
        super().__init__()
        if concepts < 1 or bins < 2 or groups < 1:
            raise InputError(f"concepts, bins, groups out of range: {concepts}, {bins}, {groups}")
        if images not in ("containing", "all"):
            raise InputError(f"unknown images {images!r}: use 'containing' or 'all'")
        self.concepts, self.bins, self.groups, self.images = concepts, bins, groups, images
        self._state = {
            "counts": torch.zeros(1 + groups, concepts, 2, bins, dtype=torch.int64),
            "images": torch.zeros(1 + groups, concepts, dtype=torch.int64),
        }

    def _config(self) -> dict[str, object]:
        return {"concepts": self.concepts, "bins": self.bins, "groups": self.groups, "images": self.images}

    @property
    def edges(self) -> Tensor:
        """(bins,) float64 lower edges of the bins: score > edge is marked. The first is minus infinity."""
        top = math.asinh(SCORE_LIMIT)
        edges = torch.sinh(torch.linspace(-top, top, self.bins + 1, dtype=torch.float64)[:-1])
        edges[0] = float("-inf")
        return edges

    @accumulates
    def update(
        self,
        scores: Tensor,
        masks: Tensor,
        valid: Tensor | None = None,
        *,
        train: bool | Tensor = False,
        group: int | Tensor = 0,
    ) -> None:
        """Adds a batch.

        Args:
            scores: (B, K, H, W) from `ConceptWeights.score` on the evaluation grid.
            masks: (B, K, H, W) bool (floating masks count from 0.5).
            valid: (B, H, W) bool, positions that are labelled; all when None.
            train: whether the images belong to the train half; bool or (B,) bool.
            group: evaluation group of the images, 0 .. groups-1; int or (B,) integers. Ignored for train images.

        Raises:
            InputError: shapes do not fit, group out of range, or scores are not finite.
        """
        b, k = scores.shape[0], self.concepts
        if scores.ndim != 4 or scores.shape[1] != k:
            raise InputError(f"scores must be (B, {k}, H, W), got {tuple(scores.shape)}")
        if masks.shape != scores.shape:
            raise InputError(f"masks must be {tuple(scores.shape)} like the scores, got {tuple(masks.shape)}")
        masks = masks if masks.dtype == torch.bool else masks >= 0.5
        if valid is not None:
            if tuple(valid.shape) != (b, *scores.shape[2:]):
                raise InputError(f"valid must be {(b, *scores.shape[2:])}, got {tuple(valid.shape)}")
            valid = valid if valid.dtype == torch.bool else valid >= 0.5
            masks = masks & valid[:, None]
        device = scores.device
        in_train = torch.as_tensor(train, dtype=torch.bool, device=device).expand(b)
        groups = torch.as_tensor(group, dtype=torch.int64, device=device).expand(b)
        if bool(((groups < 0) | (groups >= self.groups)).any()):
            raise InputError(f"group out of range: this curve keeps {self.groups} groups (0 .. {self.groups - 1})")
        slot = torch.where(in_train, 0, groups + 1)
        holds = masks.flatten(2).any(2)
        self._state["images"].index_add_(0, slot, holds.long())
        image, concept = (holds if self.images == "containing" else torch.ones_like(holds)).nonzero(as_tuple=True)
        if not len(image):
            return
        score = scores[image, concept].flatten(1)
        if not bool(torch.isfinite(score.sum())):
            raise InputError("scores have values that are not finite (NaN or infinity)")
        top = math.asinh(SCORE_LIMIT)
        place = score.float().asinh().add_(top).mul_(self.bins / (2 * top)).clamp_(0, self.bins - 1).long()
        place += masks[image, concept].flatten(1).long() * self.bins
        place += ((slot[image] * k + concept) * (2 * self.bins))[:, None]
        if valid is not None:
            place = place[valid[image].flatten(1)]
        counts = torch.bincount(place.flatten(), minlength=self._state["counts"].numel())
        self._state["counts"] += counts.view_as(self._state["counts"])

    def compute(self) -> ConceptScores:
        """Calibrates on the train half and scores the evaluation half."""
        counts, images = self._state["counts"].cpu(), self._state["images"].cpu()
        n_train, n_eval = images[0], images[1:].sum(0)
        train = _iou_curve(counts[0])
        curve = _iou_curve(counts[1:].sum(0))
        absent = (n_train == 0) | (n_eval == 0)
        best = train.nan_to_num(-1).argmax(1)
        at_best = lambda c: _iou_curve(c).gather(1, best[:, None])[:, 0]  # noqa: E731
        _, se = jackknife(at_best, [counts[1:]])
        hide = lambda value: torch.where(absent, torch.nan, value)  # noqa: E731
        edges = self.edges
        return ConceptScores(
            iou=hide(curve.gather(1, best[:, None])[:, 0]),
            iou_se=hide(se),
            train_iou=hide(train.gather(1, best[:, None])[:, 0]),
            threshold=hide(edges[best]),
            curve=torch.where(absent[:, None], torch.nan, curve),
            edges=edges,
            n_train=n_train,
            n_eval=n_eval,
        )


def _iou_curve(counts: Tensor) -> Tensor:
    """(K, bins) set IoU above each lower edge from (K, 2, bins) counts (0 outside, 1 inside); NaN without positives."""
    above = counts.double().flip(-1).cumsum(-1).flip(-1)
    positives = counts[:, 1].sum(-1, keepdim=True).double()
    iou = above[:, 1] / (positives + above[:, 0])
    return torch.where(positives > 0, iou, torch.nan)
