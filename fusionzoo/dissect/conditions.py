"""What the model is given: both modalities, one or both taken away, or one of another image.

`Condition` names the cases (`subsets` and `others` give those of a number of modalities), and one policy says what
stands for a modality that is taken away; scores, traces and robustness curves take both from here. A score without a
modality depends on the policy, so it is always named:

* "mean": the model's declared substitute, zeros after normalisation, that is the mean of the data it was made for.
* "zero": zeros before normalisation: a black image; for depth, nothing measured (which the preprocessing fills with the
  mean, so that for depth "zero" and "mean" are one).
* "permute": the modality of another image of the data (`Split.cycle`): each value is real, only the pairing is lost.
  With both modalities absent both come from the same other image.
* "noise": independent normal values with mean 0 and standard deviation 1 after normalisation, drawn for each image anew
  from the seed and the image's number.
* "blur": what is left after three box blurs over an eighth of the shorter side each: the large and soft parts.

No policy depends on batches or processes. They differ in what they keep: the mean is far from any real image, a
permuted one is real but wrong and can mislead the model.
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.data import adapt, collate
from fusionzoo.data.base import spread
from fusionzoo.data.validate import checked
from fusionzoo.errors import FusionZooWarning, InputError, check_known
from fusionzoo.modalities import inputs_of, split
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import bare
from fusionzoo.tasks import model_for

__all__ = [
    "CONSTANT",
    "MOST",
    "OF_ONE",
    "POLICIES",
    "SUBSETS",
    "Condition",
    "Images",
    "Reader",
    "blurred",
    "check_policy",
    "fitted",
    "inputs_of",
    "normalised",
    "others",
    "subsets",
    "substitute",
    "tell_unlike",
    "unlike",
    "unwrapped",
]


class Condition(str):
    """What the model is given, as one word: "both" (all there are), "neither" (none), or "without_" and the names of
    those that are taken away, "+" between them: "without_rgb", "without_depth+thermal". "other_rgb": that one is of
    another image. The names are those of `fusionzoo.modalities.inputs_of`: "rgb" and "x", or of several modalities
    beside rgb their own.
    """

    BOTH: ClassVar[Condition]
    WITHOUT_RGB: ClassVar[Condition]
    WITHOUT_X: ClassVar[Condition]
    NEITHER: ClassVar[Condition]
    OTHER_RGB: ClassVar[Condition]
    OTHER_X: ClassVar[Condition]

    @classmethod
    def without(cls, *names: str) -> Condition:
        """The condition in which these, and not all, are taken away; of none "both"."""
        return cls(f"without_{'+'.join(names)}") if names else cls.BOTH

    @classmethod
    def other(cls, name: str) -> Condition:
        """The condition in which "rgb" or "x" is that of another image."""
        return cls(f"other_{name}")

    def lacks(self, name: str) -> bool:
        """Whether the modality is taken away."""
        return self == "neither" or self.startswith("without_") and name in self[len("without_") :].split("+")

    @property
    def lends(self) -> bool:
        """Whether a modality is that of another image."""
        return self.startswith("other_")


Condition.BOTH, Condition.NEITHER = Condition("both"), Condition("neither")
Condition.WITHOUT_RGB, Condition.WITHOUT_X = Condition.without("rgb"), Condition.without("x")
Condition.OTHER_RGB, Condition.OTHER_X = Condition.other("rgb"), Condition.other("x")


MOST = 4
"""Modalities, rgb among them, of which every subset is looked at; of more only all, all but one, and none."""


def subsets(names: Sequence[str]) -> tuple[Condition, ...]:
    """The conditions with every subset of the modalities, the most complete first.

    >>> subsets(("rgb", "depth", "thermal"))[:5]
    ('both', 'without_rgb', 'without_depth', 'without_thermal', 'without_rgb+depth')
    """
    sizes = range(len(names)) if len(names) <= MOST else range(2)
    taken = (gone for size in sizes for gone in itertools.combinations(names, size))
    return (*(Condition.without(*gone) for gone in taken), Condition.NEITHER)


def others(names: Sequence[str]) -> tuple[Condition, ...]:
    """The conditions in which one modality is that of another image."""
    return tuple(map(Condition.other, names))


SUBSETS = subsets(("rgb", "x"))

POLICIES = ("mean", "zero", "permute", "noise", "blur")
OF_ONE = tuple(name for name in POLICIES if name != "permute")
"""Policies that need no other image."""
CONSTANT = ("mean", "zero")
"""Policies whose substitute is the same for all images."""
BLUR = 8

Pair = tuple[Tensor, Tensor]
Sample = dict[str, Any]


def check_policy(name: str) -> None:
    """Raises UnknownNameError for a policy that does not exist."""
    check_known("absence policy", name, POLICIES)


def substitute(
    policy: str,
    stream: str,
    value: Tensor,
    places: Sequence[int],
    preprocess: Preprocess,
    other: Tensor | None = None,
    seed: int = 0,
    number: int = 1,
) -> Tensor:
    """What stands for a batch of one modality.

    Args:
        policy: one of POLICIES.
        stream: "rgb", "x", or the name of one of several modalities.
        value: (B, C, H, W), normalised; the result is shaped like it.
        places: number of each image in the run.
        preprocess: of that modality.
        other: like `value`, of the other images; needed by "permute" only.
        number: of the modality beside rgb; those of one image do not have the same noise.

    >>> from fusionzoo.preprocess import Preprocess
    >>> value = torch.ones(2, 3, 4, 4)
    >>> [round(float(substitute(p, "rgb", value, [0, 1], Preprocess()).mean()), 2) for p in ("mean", "zero", "blur")]
    [0.0, -1.99, 1.0]
    """
    check_policy(policy)
    if policy == "mean":
        return torch.zeros_like(value)
    if policy == "zero":
        raw = value.new_zeros(value.shape, dtype=torch.float32)
        return (preprocess.rgb(raw) if stream == "rgb" else preprocess.x(raw)).to(value.dtype)
    if policy == "permute":
        assert other is not None and other.shape == value.shape
        return other
    if policy == "blur":
        return blurred(value)
    own = 0 if stream == "rgb" else number
    return torch.stack([_noise(value[i], place, own, seed) for i, place in enumerate(places)])


def _noise(value: Tensor, place: int, stream: int, seed: int) -> Tensor:
    """Drawn on the CPU, so that every machine draws the same."""
    number = (seed * 2 + min(stream, 1)) * 1_000_003 + place + max(stream - 1, 0) * 1_000_000_007
    return torch.randn(value.shape, generator=torch.Generator().manual_seed(number)).to(value)


def blurred(value: Tensor) -> Tensor:
    """Three box blurs, the edges repeated. (B, C, H, W) -> the same shape."""
    width = min(value.shape[-2:]) // BLUR | 1  # odd
    if width == 1:
        return value
    margin = width // 2
    for _ in range(3):  # separable: rows, then columns
        value = F.avg_pool2d(F.pad(value, (margin, margin, 0, 0), mode="replicate"), (1, width), stride=1)
        value = F.avg_pool2d(F.pad(value, (0, 0, margin, margin), mode="replicate"), (width, 1), stride=1)
    return value


# ----------------------------------------------------------------------------------------------- from samples to inputs


def unwrapped(model: nn.Module) -> Any:
    """What torch.compile or DistributedDataParallel wraps; typed loosely, for what a FusionModel has."""
    return bare(model)


def normalised(model: nn.Module, batch: Sample) -> Pair:
    """rgb and x of a batch as the model takes them, on its device."""
    first = next(itertools.chain(model.parameters(), model.buffers()), None)
    device = torch.device("cpu") if first is None else first.device
    rgb, x = unwrapped(model).preprocess(batch["rgb"].to(device), batch["x"].to(device))
    return rgb, x


def unlike(preprocess: Preprocess, data: Any, indices: Sequence[int] | None = None, looked_at: int = 8) -> str | None:
    """One sentence where x of some of `looked_at` of the images, evenly spread, is far from what the weights saw; else
    None. No image is read where the record does not say what they saw."""
    if not (preprocess.x_quantiles or preprocess.x_missing):
        return None
    chosen = spread(range(len(data)) if indices is None else indices, looked_at)
    seen = (preprocess.unlike(checked(data[i], data)["x"]) for i in chosen)
    found = [far for far in seen if far is not None]
    if not found:
        return None
    return f"{data.name}: of {len(chosen)} images looked at, {len(found)} are unlike the training data: {found[0]}"


def tell_unlike(model: nn.Module, data: Any, indices: Sequence[int]) -> None:
    """Warns once with what `unlike` says: depth in another unit makes any figure of it worthless."""
    if text := unlike(unwrapped(model).preprocess, data, indices):
        warnings.warn(text, FusionZooWarning, stacklevel=1)  # one place: Python shows it once


def fitted(model: nn.Module, data: Any) -> tuple[Any, Any]:
    """(the model for the task of the data, the data as a data set with names); refuses what do not belong together.

    See `fusionzoo.tasks.model_for` and `fusionzoo.data.adapt`.
    """
    plain = unwrapped(model)
    if isinstance(plain, str | os.PathLike):
        raise InputError(
            f"{os.fspath(plain)!r} is a name; give the model itself: fusionzoo.from_pretrained({os.fspath(plain)!r})"
        )
    if not hasattr(plain, "levels") or not hasattr(plain, "preprocess"):
        raise InputError(
            f"{type(plain).__name__} is no FusionModel: its stages and its preprocessing are needed; README.md shows"
            " under 'Dissecting a network of your own' how few lines make it one"
        )
    kind = plain.preprocess.x_kind.replace("inverse_depth", "depth")
    given, channels = data, plain.preprocess.x_channels
    data = adapt(given, class_names=plain.class_names, x_kind=kind, x_channels=channels)
    chosen = model_for(plain, data)
    if chosen is not plain:
        data = adapt(given, class_names=chosen.class_names, x_kind=kind, x_channels=channels)
        model = plain = chosen
    if len(plain.class_names) != data.num_classes:
        text = f"the model predicts {len(plain.class_names)} classes, {data.name} has {data.num_classes}"
        raise InputError(f"{text}; name the data it was trained for (fusionzoo info shows it)")
    kinds = [k.replace("inverse_depth", "depth") for k in (plain.preprocess.x_kind, data.x_kind)]
    if kinds[0] != kinds[1] or plain.preprocess.x_channels != data.x_channels:
        raise InputError(
            f"the model takes {plain.preprocess.x_channels}-channel {kinds[0]}, {data.name} gives"
            f" {data.x_channels}-channel {kinds[1]}; fusionzoo.data.as_kind takes some of several, and"
            " makes HHA and grey pictures of depth"
        )
    return model, data


@dataclass
class Images:
    """Images of one size as the model takes them.

    Attributes:
        batch: as `fusionzoo.data.collate` makes it.
        places: number of each image in the run; decides its role and its groups.
        here: (rgb, x), normalised, each (B, C, H, W).
        there: the same of the images that lend a modality, None where none does.
        label: (B, Hl, Wl) on the model's device.
    """

    batch: Sample
    places: list[int]
    here: Pair
    there: Pair | None
    label: Tensor

    def only(self, kept: list[int]) -> Images:
        """Some of the images."""
        batch = {k: v[kept] if isinstance(v, Tensor) else [v[i] for i in kept] for k, v in self.batch.items()}
        here = (self.here[0][kept], self.here[1][kept])
        there = None if self.there is None else (self.there[0][kept], self.there[1][kept])
        return Images(batch, [self.places[i] for i in kept], here, there, self.label[kept])


class Reader:
    """Samples of `data` to what the model, in eval mode, is given under each condition.

    Args:
        absence: what stands for an absent modality, one of POLICIES. seed: of "noise".
        others: whether images lend each other modalities; then one sample more comes with each batch.
    """

    def __init__(self, model: nn.Module, data: Any, absence: str = "mean", seed: int = 0, others: bool = False) -> None:
        check_policy(absence)
        self.model, self.data, self.absence, self.seed, self.others = model, data, absence, seed, others

    def images(self, samples: Sequence[Sample], places: Sequence[int]) -> Iterator[Images]:
        """Checked and stacked; samples of different sizes go in runs of one size.

        Args:
            samples: one for each place; where images lend each other modalities one more, the image after the last.

        Raises:
            InputError: unusable samples.
        """
        samples = [checked(sample, self.data) for sample in samples]
        others = samples[1:] if self.others else samples
        triples = list(zip(samples, others, places, strict=False))
        assert len(triples) == len(places)
        for _, same in itertools.groupby(triples, lambda t: (t[0]["rgb"].shape, t[0]["label"].shape)):
            run = list(same)
            batch = collate([s for s, _, _ in run])
            here = normalised(self.model, batch)
            there = self._others([o for _, o, _ in run], here) if self.others else None
            yield Images(batch, [p for _, _, p in run], here, there, batch["label"].to(here[0].device))

    def inputs(self, condition: Condition, images: Images) -> tuple[Tensor | None, Tensor | None]:
        """(rgb, x) under a condition; None, the model's declared substitute, for one of them under "mean". Of several
        modalities in x those that stay are as they were."""
        rgb, x = images.here
        there = images.there or (None, None)
        preprocess = unwrapped(self.model).preprocess
        given = self._given(condition, "rgb", rgb, images, preprocess, there[0])
        if len(inputs_of(preprocess.x_kind)) == 2:
            return given, self._given(condition, "x", x, images, preprocess, there[1])
        parts, own = split(x, preprocess.x_kind), preprocess.parts()
        if condition == Condition.OTHER_X:
            return given, there[1]
        if condition == Condition.WITHOUT_X:  # all beside rgb
            condition = Condition.without(*(part.name for part, _ in parts))
        if self.absence == "mean" and condition != "neither" and all(condition.lacks(part.name) for part, _ in parts):
            return given, None
        found = [
            self._given(condition, part.name, value, images, own[part.name],
                        None if there[1] is None else part.of(there[1]), number)
            for number, (part, value) in enumerate(parts, 1)
        ]  # fmt: skip
        whole = [torch.zeros_like(value) if v is None else v for v, (_, value) in zip(found, parts, strict=True)]
        return given, torch.cat(whole, dim=1)

    def _given(
        self, condition: Condition, name: str, value: Tensor, images: Images, preprocess: Any, other: Tensor | None,
        number: int = 1,
    ) -> Tensor | None:  # fmt: skip
        """One modality under a condition."""
        if condition == Condition.other(name):
            return other
        if not condition.lacks(name):
            return value
        if self.absence == "mean" and condition != "neither":
            return None
        return substitute(self.absence, name, value, images.places, preprocess, other, self.seed, number)

    def _others(self, others: Sequence[Sample], here: Pair) -> Pair:
        """rgb and x of the other images, resized where theirs are of another size."""
        if all(o["rgb"].shape == others[0]["rgb"].shape for o in others):
            made = [normalised(self.model, {k: torch.stack([o[k] for o in others]) for k in ("rgb", "x")})]
        else:
            made = [normalised(self.model, {k: o[k][None] for k in ("rgb", "x")}) for o in others]
        size = here[0].shape[-2:]
        fit = lambda v: v if v.shape[-2:] == size else F.interpolate(v, size, mode="bilinear", align_corners=False)  # noqa: E731
        return torch.cat([fit(rgb) for rgb, _ in made]), torch.cat([fit(x) for _, x in made])
