"""Segmentation of pictures: files, arrays, tensors or whole folders in, label maps out; of a model that says one class
of a whole image, that class and the probability of each.

Each image goes the way that `check` takes: read, checked, resized to the model's input size (rgb bilinear, x nearest),
x turned into the kind that the model takes (HHA or a grey picture of depth), normalised by the model's own
preprocessing. The labels come back at the size of the rgb image. Memory is bounded by the picture itself: 54 megapixels
are segmented as well.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionzoo.data import as_kind, eval_transform
from fusionzoo.data.auxiliary import DEPTH_KINDS
from fusionzoo.data.hha import Intrinsics
from fusionzoo.data.images import rgb_bytes
from fusionzoo.data.inputs import Pair, folder_pairs, kind_given, name_of, named_x, rgb_tensor, several_x, x_tensor
from fusionzoo.data.pair import check_pair, fitted, read_pair
from fusionzoo.data.validate import EMPTY, no_x
from fusionzoo.errors import CheckFailed, FusionZooWarning, InputError
from fusionzoo.files import atomic_write
from fusionzoo.hub import from_pretrained
from fusionzoo.modalities import split
from fusionzoo.models import FusionModel, TwoStream, predict_labels
from fusionzoo.models.device import usable_device
from fusionzoo.models.labels import evaluating
from fusionzoo.report.overlay import areas, overlay
from fusionzoo.report.pictures import encoded
from fusionzoo.tasks import CLASSIFICATION

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["Pair", "Prediction", "Predictor", "predict"]

LARGEST = 1 << 21
"""Pixels that a model without a stated input size is fed at most; a larger image is fed smaller, with a warning."""


@dataclass(frozen=True)
class Prediction:
    """What a model sees in one image.

    Attributes:
        id: the file's stem, or what the caller named the image.
        labels: (H, W) class numbers, uint8 (uint16 above 256 classes), at the size of the rgb image, upright.
        class_names: name of each class number.
        rgb: uint8 (3, H, W), the image as it was read.
        probabilities: (K,) of a model that says one class of the whole image, and `labels` is (1, 1); else empty.
        scene: (name, probability) of every scene type, the likeliest first, of a joint model; else empty.
    """

    id: str
    labels: NDArray[np.unsignedinteger[Any]]
    class_names: tuple[str, ...]
    rgb: Tensor = field(repr=False)
    probabilities: tuple[float, ...] = ()
    scene: tuple[tuple[str, float], ...] = ()

    def shares(self) -> list[tuple[int, str, float]]:
        """(class number, name, fraction of the pixels) of the classes that occur, largest first; of one class of
        the whole image (class number, name, probability) of all classes."""
        if self.probabilities:
            order = sorted(range(len(self.probabilities)), key=lambda k: -self.probabilities[k])
            return [(k, self.class_names[k], self.probabilities[k]) for k in order]
        return areas(self.labels, self.class_names)

    def picture(self, alpha: float = 0.55) -> Picture:
        """The image with the classes' colours over it (`alpha`: their weight, 0..1) and a legend, as a PIL image.

        Raises:
            InputError: the model says one class of the whole image.
        """
        self._of_pixels()
        return overlay(self.rgb.permute(1, 2, 0).numpy(), self.labels, self.class_names, alpha=alpha)

    def save(self, path: str | os.PathLike[str], alpha: float = 0.55) -> None:
        """Writes the picture as PNG, all or nothing; InputError where that is not possible."""
        atomic_write(path, encoded(self.picture(alpha), "PNG"))

    def _of_pixels(self) -> None:
        if self.probabilities:
            raise InputError(f"{self.id}: the model says one class of the whole image, so there is no map to draw")

    def save_labels(self, path: str | os.PathLike[str]) -> None:
        """Writes the class numbers as a grey PNG, 8 bit (16 bit above 256 classes), all or nothing. InputError as of
        `picture`."""
        self._of_pixels()
        atomic_write(path, encoded(self.labels, "PNG"))


@overload
def predict(
    model: FusionModel | str | os.PathLike[str],
    rgb: Tensor | NDArray[Any] | Picture,
    x: Any = None,
    **options: Any,
) -> Prediction: ...
@overload
def predict(
    model: FusionModel | str | os.PathLike[str], rgb: str | os.PathLike[str], x: Any = None, **options: Any
) -> Any: ...
@overload
def predict(
    model: FusionModel | str | os.PathLike[str], rgb: Sequence[Any], x: Any = None, **options: Any
) -> Iterator[Prediction]: ...
def predict(model: Any, rgb: Any, x: Any = None, **options: Any) -> Any:
    """Semantic segmentation of an image, of a list of images or of a folder of images.

    Args:
        model: a FusionModel, a bundled name, a checkpoint folder or `hf-hub:org/name`. For several calls, load it once.
        rgb: a file; a uint8 array (H, W, 3) or tensor (3, H, W), or float in 0..1; a PIL image; a list of these; or a
            folder of image files.
        x: the same scene in the second modality: a file, an array (H, W), (H, W, C) or (C, H, W), a tensor (C, H, W),
            a PIL image, a list as long as rgb's, or a folder with files of the same names. None: the model's declared
            substitute stands in for it. For a model with several: {"depth": one of these, "thermal": ...}, those that
            are left out being replaced, or a list of all in the order of `model.modalities` (folders likewise).
        options: `size` (H, W) that the model is fed, by default its own input size; `align`, to resample x of another
            size than rgb's (nearest); `x_scale`, stored x times this is the unit (files and arrays of 16-bit integers
            are millimetres, floats metres); `x_encoding` of 16-bit depth, "sunrgbd" (turned bits) or "swapped" (bytes);
            `x_kind` of what is given, by default the model's own, or depth where a model that takes HHA or grey
            pictures is given a single channel of more than 8 bits; `camera` for HHA, `fusionzoo.data.hha.Intrinsics` or
            (fx, fy, cx, cy) in pixels of rgb; `without`, "rgb", "x" or the name of one of several, to leave out a
            modality that is given; `empty`, for images whose x has no valid value: "refuse", "skip" them in lists and
            folders, or "keep" them, the model's substitute standing in; `device`, by default where the model is.

    Returns:
        A Prediction; for a list or a folder an iterator of them, each made when it is asked for.

    Raises:
        InputError: what cannot be read, or is no pair of aligned images; what the model cannot be fed.
        CheckFailed: the checkpoint fails its verification, or the model's output is not finite.

    Warns:
        FusionZooWarning: x is unlike what the weights saw (once), or a large image is fed smaller.

    >>> import fusionzoo
    >>> from fusionzoo.data import Planted
    >>> scene = Planted("test", n=1)[0]
    >>> found = fusionzoo.predict("concat_mobilenetv1-025_fpn.planted", scene["rgb"], scene["x"])
    >>> found.labels.shape == tuple(scene["label"].shape), found.shares()[0][1]
    (True, 'wall')
    """
    predictor = Predictor(model, **options)
    if isinstance(rgb, str | os.PathLike) and Path(rgb).is_dir():
        places = named_x(x, predictor.modalities[1:], str(rgb))
        if isinstance(places, dict):
            places = {name: place for name, place in places.items() if place is not None}
        return predictor.all(folder_pairs(rgb, places))
    if isinstance(rgb, list | tuple):
        others = [None] * len(rgb) if x is None else x
        if not isinstance(others, list | tuple) or len(others) != len(rgb):
            raise InputError(f"{len(rgb)} images of rgb need a list of as many of x, or None")
        return predictor.all(Pair(name_of(r, i), r, o) for i, (r, o) in enumerate(zip(rgb, others, strict=True)))
    return predictor(Pair(name_of(rgb, 0), rgb, x))


@dataclass(frozen=True)
class Ready:
    """One input, read and made what the model takes: for a prediction, an explanation or both.

    Attributes:
        id: what the input is called.
        rgb: (3, H, W), as it was read.
        fed: raw rgb (3, h, w) and x (Cx, h, w), at the size and of the kind that the model takes; no "x" where none is
            given.
    """

    id: str
    rgb: Tensor = field(repr=False)
    fed: dict[str, Tensor] = field(repr=False)


class Predictor:
    """A model with the choices of `predict`, for any number of images: `predictor(Pair("a", "a.png", "a_depth.png"))`.

    Arguments are those of `predict`.
    """

    def __init__(
        self,
        model: FusionModel | str | os.PathLike[str],
        *,
        size: tuple[int, int] | None = None,
        align: bool = False,
        x_scale: float | None = None,
        x_kind: str | None = None,
        x_encoding: str | None = None,
        camera: Intrinsics | tuple[float, float, float, float] | None = None,
        without: str | None = None,
        empty: str = "refuse",
        device: str | torch.device | None = None,
    ) -> None:
        if x_scale is not None and not 0 < x_scale < math.inf:
            raise InputError(
                f"x_scale (--x-scale) is {x_scale}; give a positive number, for example 0.001 for millimetres"
            )
        if empty not in EMPTY:
            raise InputError(f"empty is {empty!r}; give {', '.join(EMPTY)}")
        if size is not None and min(size) < 1:
            raise InputError(f"size is {size}; give (height, width), both positive")
        self.model: Any = from_pretrained(model) if isinstance(model, str | os.PathLike) else model
        if device is not None:
            self.model.to(usable_device(device))
        plain: Any = getattr(self.model, "_orig_mod", self.model)  # inside torch.compile
        if not isinstance(plain, FusionModel):
            raise InputError(f"{type(plain).__name__} is no model of fusionzoo; give one, or the name of a checkpoint")
        self.preprocess, self.class_names = plain.preprocess, tuple(plain.class_names)
        self.scene_names = tuple(plain.scene_names) if isinstance(plain, TwoStream) else ()
        self.needs, self.modalities, self.task = plain.needs, plain.modalities, plain.task
        names = ["rgb", "x", *(self.modalities[1:] if len(self.modalities) > 2 else ())]
        if without is not None and without not in names:
            raise InputError(f"without is {without!r}; give {' or '.join(map(repr, names))}")
        self.size = size or plain.input_size
        self.align, self.scale, self.kind, self.camera, self.without = align, x_scale, x_kind, camera, without
        self.encoding, self.empty = x_encoding, empty
        self.left_out: list[str] = []
        self._warned: set[str] = set()

    def all(self, pairs: Iterable[Pair]) -> Iterator[Prediction]:
        """The predictions, one after the other; `left_out` names the images that `empty` "skip" leaves out."""
        for pair in pairs:
            ready = self.ready(pair)
            if ready is not None:
                yield self.predicted(ready)

    def __call__(self, pair: Pair) -> Prediction:
        """The prediction for one input; errors as of `predict`."""
        return self.predicted(self.only(pair))

    def only(self, pair: Pair) -> Ready:
        """One input by itself, read; InputError where `empty` "skip" leaves it out; errors as of `predict`."""
        ready = self.ready(pair)
        if ready is None:
            raise InputError(f'{pair.id}: no valid x in any pixel, and no other image; empty="keep" uses its rgb')
        return ready

    def ready(self, pair: Pair) -> Ready | None:
        """One input of several, read; None: left out, since x has no valid value, and named in `left_out`. Errors as of
        `predict`."""
        read = self._read(pair)
        if read is None:
            self.left_out.append(pair.id)
            return None
        rgb, x, kind = read
        seen = {name for name, there in (("rgb", True), ("x", x is not None)) if there and name != self.without}
        if not seen:
            raise InputError(f"{pair.id}: neither rgb nor x is left for the model")
        if not seen & set(self.needs):
            raise InputError(f"{pair.id}: the model reads {' and '.join(self.needs)} alone; give that")
        return Ready(pair.id, rgb, self._fed(pair.id, rgb, x, kind, (rgb.shape[-2], rgb.shape[-1])))

    def predicted(self, ready: Ready, keep: Mapping[str, float] | None = None) -> Prediction:
        """The prediction for an input that is read. CheckFailed: the model's output is not finite.

        Args:
            keep: share of a modality, 0..1: its normalised values times this; 0 is what leaving it out is.
        """
        share = {name: 1.0 if keep is None else keep.get(name, 1.0) for name in ready.fed if name != self.without}
        share = {name: part for name, part in share.items() if part > 0} or share
        rgb, (logits, *scene) = ready.rgb, self._logits(ready.fed, share)
        if not all(bool(torch.isfinite(v).all()) for v in (logits, *scene)):
            raise CheckFailed(f"{ready.id}: the model's output is not finite")
        few = len(self.class_names) <= 256
        of_image = self.task == CLASSIFICATION
        whole = (1, 1) if of_image else (rgb.shape[-2], rgb.shape[-1])
        chances = tuple(logits.float().softmax(1)[0, :, 0, 0].tolist()) if of_image else ()
        labels = predict_labels(logits, whole, dtype=torch.uint8 if few else torch.int32)[0].cpu().numpy()
        labels = labels if few else labels.astype(np.uint16)
        types = [
            (n, p)
            for v in scene
            for n, p in zip(self.scene_names, v.float().softmax(1).flatten().tolist(), strict=True)
        ]
        told = tuple(sorted(types, key=lambda one: -one[1]))
        return Prediction(ready.id, labels, self.class_names, rgb_bytes(rgb), chances, told)

    def _read(self, pair: Pair) -> tuple[Tensor, Tensor | None, str] | None:
        """(rgb (3, H, W), x (Cx, H, W) or None, kind of x); None: left out, since x has no valid value."""
        rgb, x, kind = self._as_given(pair)
        if x is None or self.empty == "refuse" or not all(no_x(own, part.kind) for part, own in split(x, kind)):
            return rgb, x, kind
        self._warn("empty", f"{pair.id}: no valid x in any pixel: " + (
            "left out" if self.empty == "skip" else "the model's substitute stands in"
        ))  # fmt: skip
        return None if self.empty == "skip" else (rgb, None, kind)

    def _as_given(self, pair: Pair) -> tuple[Tensor, Tensor | None, str]:
        """(rgb (3, H, W), x (Cx, H, W) or None, kind of x), checked."""
        names = self.modalities[1:]
        pair = replace(pair, x=named_x(pair.x, names, pair.id))
        if isinstance(pair.x, Mapping):
            return self._several(pair, names)
        kind = self.kind or kind_given(pair.x, self.preprocess.x_kind)
        if isinstance(pair.rgb, str | os.PathLike) and isinstance(pair.x, str | os.PathLike):
            rgb, x = read_pair(
                Path(pair.rgb), Path(pair.x), kind, self.scale, align=self.align, encoding=self.encoding,
                keep_empty=self.empty != "refuse", say=partial(self._warn, "turned"),
            )  # fmt: skip
            return rgb, x, kind
        rgb = rgb_tensor(pair.rgb, pair.id)
        if pair.x is None:
            return rgb, None, kind
        x = x_tensor(pair.x, kind, self.scale, pair.id, self.encoding)
        size = (rgb.shape[-2], rgb.shape[-1])
        if x.shape[-2:] != size:
            x = torch.from_numpy(fitted(x.cpu().numpy(), size, self.align, pair.id)).to(x.device)
        check_pair(rgb, x, kind, pair.id, self.empty != "refuse")
        return rgb, x, kind

    def _several(self, pair: Pair, names: Sequence[str]) -> tuple[Tensor, Tensor, str]:
        """`_as_given` of several modalities; what is left out is NaN, which the preprocessing takes for missing."""
        wanted = self.preprocess.x_kind.split("+")
        said = [None] * len(wanted) if self.kind is None else self.kind.split("+")
        if len(said) != len(wanted):
            raise InputError(f"x_kind (--x-kind) is {self.kind!r}; the model takes {self.preprocess.x_kind}")
        parts = zip(names, wanted, said, strict=True)
        kinds = {name: told or kind_given(pair.x[name], own) for name, own, told in parts}
        rgb = rgb_tensor(pair.rgb, pair.id)
        x = several_x(
            pair.x, kinds, (rgb.shape[-2], rgb.shape[-1]), pair.id,
            scale=self.scale, encoding=self.encoding, align=self.align,
        )  # fmt: skip
        whole = "+".join(kinds.values())
        for name, (part, own) in zip(names, split(x, whole), strict=True):
            if pair.x[name] is not None:
                check_pair(rgb, own, part.kind, f"{pair.id}, {name}", self.empty != "refuse")
        return rgb, x, whole

    def _fed(self, name: str, rgb: Tensor, x: Tensor | None, kind: str, whole: tuple[int, int]) -> dict[str, Tensor]:
        """rgb and x at the size and of the kind that the model takes, still raw."""
        size = self.size
        if size is None and whole[0] * whole[1] > LARGEST:
            shrink = math.sqrt(LARGEST / (whole[0] * whole[1]))
            size = (max(1, int(whole[0] * shrink)), max(1, int(whole[1] * shrink)))
            self._warn(
                "size", f"{name}: {whole[1]}x{whole[0]} is fed at {size[1]}x{size[0]} (the checkpoint states no size;"
                " --size, size=)",
            )  # fmt: skip
        sample: dict[str, Any] = {"id": name, "rgb": rgb, "x": rgb[:1] if x is None else x}
        if size is not None:
            sample = eval_transform(size)(sample)
        if x is None:
            return {"rgb": sample["rgb"]}
        camera = self.camera if self.camera is None or isinstance(self.camera, Intrinsics) else Intrinsics(
            *self.camera, whole
        )  # fmt: skip
        wanted = self.preprocess.x_kind
        if "hha" in wanted.split("+") and "hha" not in kind and set(DEPTH_KINDS) & set(kind.split("+")) and not camera:
            raise InputError(
                f"{name}: the model takes HHA, which is made from depth with the camera: give --camera nyuv2 or"
                " --intrinsics FX FY CX CY (camera=), or make the pictures with fusionzoo hha"
            )
        if wanted.count("+") == kind.count("+") > 0 and set(wanted.split("+")) != set(kind.split("+")):
            each = zip(split(sample["x"], kind), wanted.split("+"), strict=True)
            made = [as_kind(_One({**sample, "x": x}, name, p.kind, camera), own)[0]["x"] for (p, x), own in each]
            sample["x"] = torch.cat([own.float() for own in made])
        else:
            sample = as_kind(_One(sample, name, kind, camera), wanted)[0]
        if len(self.modalities) > 2 and self.without in self.modalities[1:]:
            sample["x"] = sample["x"].clone()
            next(x for p, x in split(sample["x"], wanted) if p.name == self.without).fill_(math.nan)
        if (far := self.preprocess.unlike(sample["x"])) is not None:
            self._warn("unlike", f"{name}: {far}")
        return {"rgb": sample["rgb"], "x": sample["x"]}

    def normalised(self, fed: dict[str, Tensor]) -> dict[str, Tensor]:
        """(1, C, h, w) each of what a model is fed, as it takes it."""
        first, ways = next(self.model.parameters()), {"rgb": self.preprocess.rgb, "x": self.preprocess.x}
        return {name: ways[name](v[None].to(first.device)).to(first.dtype) for name, v in fed.items()}

    @torch.inference_mode()
    def _logits(self, fed: Mapping[str, Tensor], share: Mapping[str, float]) -> list[Tensor]:
        """[(1, K, h, w), of a joint model (1, S, 1, 1) too] of raw rgb (3, h, w) and x (Cx, h, w), in eval mode; the
        mode is put back.

        Args:
            share: of each modality that is given, what its normalised values are multiplied by.
        """
        given = self.normalised({name: fed[name] for name in share})
        ready = {name: value * share[name] for name, value in given.items()}
        with evaluating(self.model):
            if self.scene_names:
                return list(self.model.both(ready.get("rgb"), ready.get("x")))
            return [self.model(ready.get("rgb"), ready.get("x"))]

    def _warn(self, kind: str, text: str) -> None:
        """One warning of a kind, however many images there are."""
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(text, FusionZooWarning, stacklevel=2)


class _One:
    """A data set of one sample, so that x is converted as that of any data set."""

    def __init__(self, sample: dict[str, Any], name: str, x_kind: str, camera: Intrinsics | None) -> None:
        self.sample, self.name, self.x_kind, self.camera = sample, name, x_kind, camera

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.sample
