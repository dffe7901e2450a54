"""What a training run is: one flat dataclass, written beside the checkpoint, compared on resume."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from fusionzoo.errors import InputError
from fusionzoo.schema import decode, encode

__all__ = ["AUXILIARY", "Settings"]

AUXILIARY = {"consistency": 0.1, "decorrelation": 0.1}
"""Factors of the auxiliary losses that some models have."""


def _setting(default: Any, text: str, *, flag: str = "", choices: tuple[str, ...] = (), free: bool = False) -> Any:
    """A field with the help of its flag. `free`: changes no number, so that a resumed run may differ in it."""
    about = {"help": text, "flag": flag, "choices": choices, "free": free}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=about)
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class Settings:
    """Settings of `finetune`; every field is a flag of `fusionzoo finetune`, with this help.

    `model` is an architecture name, or a checkpoint to continue from (bundled name, folder, Hub id). `data` is
    "planted", "nyuv2:PATH" or "folder:PATH".

    >>> Settings("sum_mobilenetv1-025_fpn", "planted").epochs
    30
    """

    model: str
    data: str
    num_classes: int | None = _setting(None, "Of the data's label map (nyuv2: 40, 13 or 4).")
    init: str = _setting("", "Converted ImageNet encoder for both streams (fusionzoo convert).", flag="DIR", free=True)
    train_split: str = _setting("train", "Split to train on.")
    val_split: str = _setting("val", "Split to validate on; '' trains without and keeps the last weights.")
    val_every: int = _setting(1, "Epochs between validations; the last is always validated.")
    epochs: int = _setting(30, "Passes over the training data.")
    batch_size: int = _setting(16, "Images a step.")
    seed: int = _setting(0, "Of new weights, order and augmentation.")
    lr: float = _setting(1e-3, "Peak learning rate of new parts (AdamW).")
    encoder_lr: float = _setting(3e-4, "The same for encoders from --init.")
    weight_decay: float = _setting(0.01, "Of matrices and kernels; vectors are not decayed.")
    size: tuple[int, int] = _setting((128, 160), "Training crop, height x width.")
    base: tuple[int, int] = _setting((120, 160), "Whole image at zoom 1.")
    scale: tuple[float, float] = _setting((1.0, 1.6), "Range of the random zoom.")
    test_size: tuple[int, int] | None = _setting(None, "Whole image at validation; default: --base.")
    jitter: float = _setting(0.3, "Strength of the colour jitter.")
    ema: float = _setting(0.995, "Decay of the averaged weights, which are validated and saved; 0: none.")
    balance: float = _setting(0.0, "Power of the class weights; 1: median frequency.")
    auxiliary: dict[str, float] = _setting(AUXILIARY, "Factor of an auxiliary loss. [default: 0.1 each]")
    drop_modality: float = _setting(0.0, "Share of images that lose an input, rgb or x evenly.")
    decoder_args: dict[str, Any] = _setting({}, "Option of a new model's decoder.")
    fusion_args: dict[str, Any] = _setting({}, "Option of a new model's fusion blocks.")
    amp: bool = _setting(False, "bfloat16 autocast.")
    half: bool = _setting(False, "Save matrices in float16.")
    limit: int | None = _setting(None, "Use at most so many images of each split.")
    align: bool = _setting(False, "Resample x of another size than rgb to it, by nearest.")
    empty: str = _setting("refuse", "Images without any valid x: refuse, skip them, or keep them for their rgb.",
                          choices=("refuse", "skip", "keep"))  # fmt: skip
    cache: bool = _setting(True, "Keep decoded images in memory.", free=True)
    workers: int = _setting(0, "Processes that read and augment images.", free=True)

    def __post_init__(self) -> None:
        for name in ("size", "base", "scale", "test_size"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        for name, low in (("epochs", 1), ("batch_size", 1), ("val_every", 1), ("workers", 0), ("lr", 0),
                          ("encoder_lr", 0), ("weight_decay", 0), ("balance", 0)):  # fmt: skip
            if not low <= getattr(self, name) < float("inf"):
                raise InputError(f"{name} ({getattr(self, name)}) starts at {low}")
        for name in ("size", "base", "test_size"):
            if (value := getattr(self, name)) is not None and (len(value) != 2 or min(value) < 1):
                raise InputError(f"{name} {value} is not (height, width), both positive")
        if not 0 <= self.seed < 1 << 32:
            raise InputError(f"seed {self.seed} is not in 0..4294967295")
        if not 0 <= self.ema < 1 or not 0 <= self.drop_modality <= 1:
            raise InputError(f"ema {self.ema} is not in [0, 1), or drop_modality {self.drop_modality} not in [0, 1]")
        for name, factor in self.auxiliary.items():
            if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 <= factor < float("inf"):
                raise InputError(f"auxiliary {name}={factor} is no factor; give a number from 0 on, such as {name}=0.1")
        for f in fields(self):
            if (choices := f.metadata.get("choices")) and getattr(self, f.name) not in choices:
                raise InputError(f"{f.name} is {getattr(self, f.name)!r}; give one of {', '.join(choices)}")

    @classmethod
    def free(cls) -> frozenset[str]:
        """Fields in which a resumed run may differ: names of places, and what changes no number."""
        return frozenset({"model", "data"} | {f.name for f in fields(cls) if f.metadata.get("free")})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values: dict[str, Any] = encode(self)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """Inverse of `to_dict`, strictly. InputError names an unknown field and the closest known one."""
        return decode(cls, values, "settings")
