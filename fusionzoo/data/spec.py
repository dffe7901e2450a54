"""Data from one word of the command line: `planted`, `nyuv2:PATH`, `folder:PATH`, `deliver:PATH#event`, ..."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionzoo.data.base import Cached, WithTransform
from fusionzoo.errors import InputError, check_known, unknown

if TYPE_CHECKING:
    from fusionzoo.data.official import OfficialDataset

__all__ = ["GENERATED", "KINDS", "OFFICIAL", "label_maps", "official", "open_path", "open_splits", "parse_spec"]

OFFICIAL = {
    "sunrgbd": "SUNRGBD",
    "mfnet": "MFNet",
    "pst900": "PST900",
    "fmb": "FMB",
    "scannet": "ScanNet",
    "cityscapes": "Cityscapes",
    "deliver": "DELIVER",
    "nju2k": "NJU2K",
    "nlpr": "NLPR",
    "sip": "SIP",
}
"""Kind, which is the name of its module too -> class: published data sets in their official layouts."""

GENERATED = ("planted", "planted-2", "planted-multi", "planted-scenes", "planted-joint", "planted-saliency")
"""Data that is drawn, not read."""
_NYU = ("nyuv2", "nyuv2-scenes", "nyuv2-joint")
KINDS = (*GENERATED, *_NYU, "folder", *OFFICIAL)
_OF_FOLDERS = ("align", "empty_depth", "labels")
_NEEDS = {
    "nyuv2": "the folder with rgb/ depth/ label40/, or nyu_depth_v2_labeled.mat",
    "nyuv2-scenes": "the folder of nyuv2 with scenes.csv in it",
    "nyuv2-joint": "the folder of nyuv2 with scenes.csv in it",
    "folder": "the folder with rgb/ x/ label/ and dataset.toml",
}
_PARTIAL = {"partial": {"partial": True}}


def parse_spec(
    spec: str,
    *,
    split: str | None = None,
    size: tuple[int, int] | None = None,
    num_classes: int | None = None,
    limit: int | None = None,
    **options: Any,
) -> Any:
    """The dataset that `spec` names.

    Args:
        spec: "planted", "planted-2", "planted-multi" ("planted-multi:depth,thermal" with some of its sensors),
            "nyuv2:PATH", "folder:PATH", with a scene type for each image "planted-scenes" or "nyuv2-scenes:PATH", with
            that and labels of pixels "planted-joint" or "nyuv2-joint:PATH", of salient objects "planted-saliency", or a
            published data set (`OFFICIAL`): "mfnet:PATH". Words behind `#` choose what such a data set offers:
            "deliver:PATH#event", "mfnet:PATH#partial" (where images are missing), several with commas; several
            modalities make x of all of them, "deliver:PATH#depth,event".
        split: None: "test", or where the labels of that are not published, "val"; for a folder without splits "all".
        size: (H, W) of rgb and x; None: the dataset's own.
        num_classes: None: the dataset's default (40 for nyuv2).
        limit: at most that many samples.
        options: any further argument of the dataset (`cache`, `label_size`, `transform`, `seed`, ...). Those of
            files only (`align`, `empty_depth`, `labels`) are taken by the others too, where they change nothing.

    Raises:
        UnknownNameError: an unknown kind, with the closest.
        InputError: no path, a path that does not exist, an option that the dataset does not have.
    """
    kind, colon, rest = spec.partition(":")
    if kind not in KINDS:
        path = Path(spec).expanduser()
        if spec and path.exists():  # the kind was forgotten
            raise InputError(f"{spec!r} does not say what kind of data it is; did you mean {_guess(path)}:{spec}?")
        raise unknown(
            "data", kind, KINDS, " | ".join((*GENERATED, "nyuv2:PATH", "folder:PATH", "fusionzoo list --data"))
        )
    given = {"split": split, "size": size, "num_classes": num_classes, "limit": limit, **options}
    given = {k: v for k, v in given.items() if v is not None}
    if kind in (*GENERATED, *_NYU):
        given = {name: value for name, value in given.items() if name not in _OF_FOLDERS}
    if kind in GENERATED:
        if kind == "planted-multi" and rest:
            given["x"] = "+".join(word.strip() for word in rest.split(",") if word.strip() != "rgb")
        elif colon:
            raise InputError(f"{spec!r}: {kind} data is generated and takes no path; give just '{kind}'")
        from fusionzoo.data.planted import Planted
        from fusionzoo.data.planted_graded import PlantedGraded
        from fusionzoo.data.planted_joint import PlantedJoint
        from fusionzoo.data.planted_multi import PlantedMulti
        from fusionzoo.data.planted_saliency import PlantedSaliency
        from fusionzoo.data.planted_scenes import PlantedScenes

        classes: Any = (PlantedGraded, PlantedMulti, PlantedScenes, PlantedJoint, PlantedSaliency)
        cls: Any = next((c for c in classes if c.name == kind), Planted)
        given.setdefault("split", "test")
        wanted, most = given.pop("num_classes", None), given.pop("limit", None)
        label_size, cache, transform = (given.pop(k, None) for k in ("label_size", "cache", "transform"))
        if label_size not in (None, "native", "input"):
            raise InputError(f"label_size is {label_size!r}; give 'native' or 'input'")  # planted: one and the same
        data = _build(kind, cls, given)
        if most is not None and most < len(data):
            data = _build(kind, cls, {**given, "n": most})
        if wanted not in (None, data.num_classes):
            raise InputError(f"{kind} data has {data.num_classes} classes, not {wanted}; leave num_classes out")
        data = Cached(data) if cache else data
        return data if transform is None else WithTransform(data, transform)
    path, chosen = open_path(spec)
    if kind in _NYU:
        from fusionzoo.data.nyuv2 import NYUv2
        from fusionzoo.data.nyuv2_joint import NYUv2Joint
        from fusionzoo.data.nyuv2_scenes import NYUv2Scenes

        given.setdefault("split", "test")
        of_nyu = next(c for c in (NYUv2, NYUv2Scenes, NYUv2Joint) if c.name == kind)
        return _build(kind, of_nyu, {"root": path, **given})
    if kind == "folder":
        from fusionzoo.data.folder import Folder

        return _build(kind, Folder, {"root": path, "split": None, **given})
    chosen_class = official(kind)
    hidden = "test" in chosen_class.facts.unlabelled and given.get("labels", True)
    given.setdefault("split", "val" if hidden else "test")
    return _build(kind, chosen_class, {"root": path, **chosen, **given})


def official(kind: str) -> type[OfficialDataset]:
    """The class of a published data set; its `facts` say what it is."""
    found: type[OfficialDataset] = getattr(importlib.import_module(f"fusionzoo.data.{kind}"), OFFICIAL[kind])
    return found


def label_maps(kind: str) -> tuple[int, ...]:
    """The numbers of classes that a kind of data can be read with, its default first; empty: it has but one way."""
    if kind in ("nyuv2", "nyuv2-joint"):
        return (40, 13, 4)
    return tuple(official(kind).facts.classes) if kind in OFFICIAL else ()


def open_path(spec: str) -> tuple[Path, dict[str, Any]]:
    """(path, arguments that the words behind `#` stand for) of a spec that has a path.

    Raises:
        InputError: no path, or one that does not exist. UnknownNameError: a word that the data set does not know.
    """
    kind, _, rest = spec.partition(":")
    needs = _NEEDS[kind] if kind in _NEEDS else f"the folder with {official(kind).facts.layout}"
    if not rest:
        raise InputError(f"{spec!r} has no path; give {kind}:PATH, {needs}")
    chosen: dict[str, Any] = {}
    if kind in OFFICIAL and "#" in rest and not Path(rest).expanduser().exists():
        rest, _, words = rest.rpartition("#")
        known = {**official(kind).words, **_PARTIAL}
        for word in filter(None, words.split(",")):
            check_known(f"word of {kind} data", word, known)
            if "x" in chosen and "x" in known[word]:
                chosen["x"] += f"+{known[word]['x']}"
                continue
            if twice := set(chosen) & set(known[word]):
                raise InputError(f"{spec!r} chooses {min(twice)} twice; give one of the words")
            chosen |= known[word]
    path = Path(rest).expanduser()
    if not path.exists():
        raise InputError(f"{rest} does not exist; {kind}: needs {needs}")
    return path, chosen


def open_splits(
    spec: str, splits: Sequence[str] | None = None, **options: Any
) -> tuple[dict[str, Any], dict[str, str]]:
    """(split -> data set, split -> why it cannot be opened) of a spec. Images without depth and
    labels are taken too; of a folder also those that have not all their files, which are refused when they are read.

    Args:
        splits: None: all that do not overlap.
        options: as of `parse_spec`.

    Raises:
        UnknownNameError: a split that the data set does not have.
        InputError: none of the splits can be opened: why the first cannot.
    """
    kind = spec.partition(":")[0]
    opened: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for split in splits or _parts(spec):
        unlabelled = kind in OFFICIAL and split in official(kind).facts.unlabelled
        try:
            more: dict[str, Any] = {"labels": False} if unlabelled else {}
            more |= {"incomplete": "keep"} if kind == "folder" else {}
            opened[split] = parse_spec(spec, split=split, empty_depth="keep", **more, **options)
        except InputError as error:
            refused[split] = str(error)
    if not opened:
        raise InputError(next(iter(refused.values())))
    return opened, refused


def _parts(spec: str) -> list[str]:
    """The splits of a spec that do not overlap: train, val and test where it has any of them."""
    kind = spec.partition(":")[0]
    if kind in OFFICIAL:
        return list(official(kind).facts.parts)
    if kind != "folder":
        return ["train", "val", "test"]  # of nyuv2 and planted; a kind that is unknown is refused with them
    from fusionzoo.data.layout import Layout
    from fusionzoo.data.settings import read_settings

    root, _ = open_path(spec)
    toml = root / "dataset.toml"
    said = read_settings(toml) if toml.is_file() else None
    named = list(said.splits) if said is not None else []
    if not named and root.is_dir():
        folders, x_kind, several = (said.folders, said.x_kind, said.formats) if said else ({}, None, {})
        layout = Layout(root, folders, x_kind, modalities=tuple(several))
        named = list(layout.splits())
    order: list[str] = [split for split in ("train", "val", "test") if split in named]
    order += [split for split in named if split not in order]
    unions = {"trainval", "all"} if {"train", "val"} & set(named) else {"all"} if len(named) > 1 else set()
    return [split for split in order if split not in unions] or ["all"]


def _guess(path: Path) -> str:
    """The kind of data that a path most likely is."""
    if path.is_file() or (path / "nyu_depth_v2_labeled.mat").is_file() or (path / "label40").is_dir():
        return "nyuv2"
    marks = {"cityscapes": "leftImg8bit", "sunrgbd": "SUNRGBDtoolbox", "scannet": "scannet_frames_25k"}
    marks |= {"mfnet": "test_day.txt", "pst900": "train/thermal", "fmb": "train/Infrared", "deliver": "semantic/cloud"}
    if (path / "dataset.toml").is_file():
        return "folder"
    return next((kind for kind, mark in marks.items() if (path / mark).exists()), "folder")


def _build(kind: str, cls: Any, given: dict[str, Any]) -> Any:
    known = {name for c in cls.__mro__ if "__init__" in vars(c) for name in signature(c).parameters}
    for name in given:
        check_known(f"option of {kind} data", name, known - {"self", "args", "kwargs", "options"})
    return cls(**given)
