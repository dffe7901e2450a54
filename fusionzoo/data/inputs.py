"""What people give for one image, as raw tensors: a file, a NumPy array, a PIL image or a tensor; and pairs of folders.

Arrays and PIL images are read as their files would be: integers of 16 bits are millimetres, floats metres. Tensors are
taken as samples of `fusionzoo.data` have them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionzoo.data.auxiliary import DEPTH_KINDS, X_CHANNELS, XFormat, read_x
from fusionzoo.data.decode import Pixels, planes
from fusionzoo.data.images import read_rgb
from fusionzoo.data.names import ENDINGS, normal, pair
from fusionzoo.data.pair import joined
from fusionzoo.errors import InputError, check_known, closest

__all__ = ["Pair", "folder_pairs", "kind_given", "name_of", "named_x", "rgb_tensor", "several_x", "x_tensor"]

IMAGES = ENDINGS["rgb"]


@dataclass(frozen=True)
class Pair:
    """One input: rgb, and x or None where there is none; each a file, an array, a PIL image or a tensor. Several
    modalities: {name: one of these}, a list of them in the model's order, or one tensor with all their channels."""

    id: str
    rgb: Any
    x: Any = None


def folder_pairs(
    rgb: str | os.PathLike[str], x: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None = None
) -> list[Pair]:
    """The image files of a folder, by name, with those of the folder `x` (of several, by the names of the modalities)
    that belong to them.

    Those have the same names, or names that differ by a word ("rgb_0001", "depth_0001"): see `names.pair`.

    Raises:
        InputError: no images, two files of one name, an image without its partner.
    """
    colours = _files(Path(rgb))
    if x is None:
        return [Pair(stem, path) for stem, path in colours.items()]
    if isinstance(x, Mapping):
        found = {name: folder_pairs(rgb, place) for name, place in x.items()}
        rows = zip(*found.values(), strict=True)
        return [Pair(row[0].id, row[0].rgb, {n: p.x for n, p in zip(found, row, strict=True)}) for row in rows]
    if not Path(x).is_dir():
        raise InputError(f"{rgb} is a folder, so x must be one: {x} is none")
    others = _files(Path(x))
    partner = pair(colours, others, "x")
    for stem in colours:
        if stem not in partner:
            near = closest(stem, others, 1)
            hint = f"; the nearest is {others[near[0]].name}" if near else ""
            raise InputError(f"{x} has no image {stem!r} for {colours[stem]}{hint}: files of a pair have one name")
    return [Pair(stem, path, others[partner[stem]]) for stem, path in colours.items()]


def _files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGES or path.name.startswith(".") or not path.is_file():
            continue
        stem = normal(path.stem)
        if stem in found:
            raise InputError(f"{folder} has both {found[stem].name} and {path.name}; keep one for each name")
        found[stem] = path
    if not found:
        raise InputError(f"{folder} has no image ({', '.join(IMAGES)})")
    return found


def named_x(x: Any, names: Sequence[str], where: str) -> Any:
    """x as given for a model whose modalities beside rgb have these names: {name: value} of several, those that are
    left out None; one thing of one; a tensor, and None, as they are.

    Raises:
        InputError: not as many as the model takes. UnknownNameError: another name.

    >>> named_x(["a.png", "b.png"], ["depth", "thermal"], "a"), named_x({"depth": "a.png"}, ["depth"], "a")
    ({'depth': 'a.png', 'thermal': 'b.png'}, 'a.png')
    """
    if isinstance(x, Mapping):
        for name in x:
            check_known("modality", str(name), names, f"{where}: the model takes {', '.join(names)}")
        x = {name: x.get(name) for name in names}
    elif isinstance(x, list | tuple):
        if len(x) != len(names):
            raise InputError(
                f"{where}: {len(x)} image{'' if len(x) == 1 else 's'} beside rgb, but the model takes {len(names)}:"
                f" {', '.join(names)}; name those that there are (--x {names[0]}=FILE, {{{names[0]!r}: ...}})"
            )
        x = dict(zip(names, x, strict=True))
    elif x is None or isinstance(x, Tensor) or len(names) == 1:
        return x
    else:
        return named_x([x], names, where)
    return x[names[0]] if len(names) == 1 else x if any(v is not None for v in x.values()) else None


def several_x(
    given: Mapping[str, Any], kinds: Mapping[str, str], size: tuple[int, int], where: str, *,
    scale: float | None = None, encoding: str | None = None, align: bool = False,
) -> Tensor:  # fmt: skip
    """float32 (Cx, H, W) at `size`, that of rgb, of several modalities, one behind the other.

    Args:
        given: name -> a file, an array, a PIL image or a tensor; None: missing everywhere (NaN).
        kinds: name -> what it is, in order. scale, encoding: of depth.
        align: as of `fitted`.
    """
    parts = []
    for name, kind in kinds.items():
        value, depth = given.get(name), kind in DEPTH_KINDS
        if value is None:
            parts.append((name, np.full((X_CHANNELS[kind], *size), np.nan, np.float32), 1.0))
            continue
        x = x_tensor(value, kind, scale if depth else None, f"{where}, {name}", encoding if depth else None)
        parts.append((name, x.cpu().numpy(), 1.0))
    return torch.from_numpy(joined(parts, size, align, where))


def name_of(value: Any, index: int) -> str:
    """The stem of a file, or the image's number."""
    return Path(value).stem if isinstance(value, str | os.PathLike) else f"image {index + 1}"


def kind_given(x: Any, wanted: str) -> str:
    """What x is, where nobody says: the model's own kind, but depth where that is a picture made of depth and x is a
    single channel of more than 8 bits."""
    if wanted not in ("grey", "hha") or x is None or isinstance(x, Tensor):
        return wanted
    if isinstance(x, str | os.PathLike):
        if Path(x).suffix.lower() != ".npy":
            return "depth" if _mode(Path(x)) in ("I", "F", "I;16", "I;16B", "I;16L") else wanted
        try:
            x = np.load(x, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return wanted  # the reader meets the same error and words it
    x = np.asarray(x)
    return "depth" if x.dtype.itemsize > 1 and (x.ndim == 2 or 1 in (x.shape[0], x.shape[-1])) else wanted


def _mode(path: Path) -> str:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.mode
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""  # the reader meets the same error and words it


def rgb_tensor(value: Any, name: str) -> Tensor:
    """A file, a PIL image, an array or a tensor as rgb (3, H, W), uint8 or float in 0..1."""
    if isinstance(value, str | os.PathLike):
        return read_rgb(Path(value))
    if isinstance(value, Tensor):
        image = value
    else:
        array = np.asarray(_upright(value, "RGB"))
        if array.ndim == 2:
            array = np.repeat(array[..., None], 3, axis=2)
        if array.ndim == 3 and array.shape[-1] in (3, 4) and array.shape[0] != 3:
            array = array[..., :3].transpose(2, 0, 1)  # (H, W, C) -> (C, H, W)
        if array.dtype.kind not in "uif":
            raise InputError(f"{name}: rgb is {type(value).__name__} of {array.dtype}; give a file, image or array")
        image = torch.from_numpy(np.ascontiguousarray(array))
    if image.ndim != 3 or image.shape[0] != 3:
        raise InputError(f"{name}: rgb has shape {tuple(image.shape)}, wanted (3, H, W), as an array also (H, W, 3)")
    return image


def x_tensor(value: Any, kind: str, scale: float | None, name: str, encoding: str | None = None) -> Tensor:
    """A file, a PIL image, an array or a tensor as x, float32 (Cx, H, W) in the unit of its kind."""
    if isinstance(value, str | os.PathLike):
        return read_x(Path(value), kind, scale, encoding=encoding)
    if isinstance(value, Tensor):
        image = value[None] if value.ndim == 2 else value
        if kind in DEPTH_KINDS and scale is None and not image.is_floating_point():
            raise InputError(f"{name}: depth is {image.dtype}; give float metres, or x_scale (0.001 for millimetres)")
    else:
        array = np.asarray(_upright(value))
        if array.dtype.kind not in "uifb" or array.ndim not in (2, 3):
            raise InputError(
                f"{name}: x is {type(value).__name__} of {array.dtype} and shape {array.shape}; give a file, image or"
                " array (H, W), (H, W, C) or (C, H, W)"
            )
        raw, factor = XFormat(kind, scale, encoding=encoding).convert(Pixels(planes(array)), name)
        return torch.from_numpy(raw.astype(np.float32) * np.float32(factor))
    return image.float() * (1.0 if scale is None else scale)


def _upright(value: Any, mode: str | None = None) -> Any:
    """A PIL image as its EXIF orientation says, and in `mode`; anything else as it is."""
    if not hasattr(value, "getexif"):
        return value
    from PIL import ImageOps

    turned = ImageOps.exif_transpose(value)
    return turned if mode is None else turned.convert(mode)
