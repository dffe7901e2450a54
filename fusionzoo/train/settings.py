"""What a training run is: one flat dataclass, written beside the checkpoint, compared on resume."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from fusionzoo.errors import InputError, check_known
from fusionzoo.schema import decode, encode

__all__ = ["Settings"]

LOSS = {"cross_entropy": 1.0}
"""Factors of the parts of the segmentation loss; dice, iou and lovasz are the others."""
DISTILL = {"logits": 1.0, "features": 1.0}
"""Factors of what a student learns from its teacher."""
_LOSSES = ("cross_entropy", "dice", "iou", "lovasz")


def _setting(
    default: Any,
    text: str,
    *,
    flag: str = "",
    choices: tuple[str, ...] = (),
    free: bool = False,
    adjustable: bool = False,
) -> Any:
    """A field with the help of its flag. A resumed run may differ in what is `free`, because it changes no number, and
    in what is `adjustable`, because it saves a run that diverged; that is said."""
    about = {"help": text, "flag": flag, "choices": choices, "free": free, "adjustable": adjustable}
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
    init: str = _setting("", "Encoders' weights: a checkpoint, a folder of fusionzoo convert, efficientnet_lite0 to"
                         " 2 (installed), or imagenet and timm:TAG, from the Hub.", flag="FROM", free=True)  # fmt: skip
    train_split: str = _setting("train", "Split to train on.")
    val_split: str = _setting("val", "Split to validate on; '' trains without and keeps the last weights.")
    val_every: int = _setting(1, "Epochs between validations; the last is always validated.")
    epochs: int = _setting(30, "Passes over the training data.")
    batch_size: int = _setting(16, "Images a step, over all processes.")
    accumulate: int = _setting(1, "Parts that a batch goes through the model in, one after another.")
    seed: int = _setting(0, "Of new weights, order and augmentation.")
    lr: float = _setting(1e-3, "Peak learning rate.", adjustable=True)
    encoder_lr: float | None = _setting(None, "The same for encoders; default: 0.3 x --lr with --init, else --lr.",
                                        adjustable=True)  # fmt: skip
    layer_decay: float = _setting(1.0, "An encoder's block learns at this share of the rate of the block after it.")
    optimizer: str = _setting("adamw", "AdamW, or SGD with Nesterov momentum 0.9.", choices=("adamw", "sgd"))
    freeze: str = _setting("", "What keeps its weights and statistics: encoder, all-but-head, or a pattern of names.",
                           flag="PART")  # fmt: skip
    keep_head: bool = _setting(False, "Of a checkpoint's head, keep the rows of classes of equal names.")
    weight_decay: float = _setting(0.01, "Of matrices and kernels; vectors are not decayed.")
    schedule: str = _setting("cosine", "Of the learning rate after the warm-up, to zero at the end.",
                             choices=("cosine", "poly", "constant"))  # fmt: skip
    warmup: int | None = _setting(None, "Steps of linear warm-up; default: 5 % of all.")
    clip: float = _setting(5.0, "Largest norm of the gradient; 0: no clipping.", adjustable=True)
    size: tuple[int, int] = _setting((128, 160), "Training crop, height x width.")
    base: tuple[int, int] = _setting((120, 160), "Whole image at zoom 1.")
    scale: tuple[float, float] = _setting((1.0, 1.6), "Range of the random zoom.")
    test_size: tuple[int, int] | None = _setting(None, "Whole image at validation; default: --base.")
    flip: float = _setting(0.5, "Share of images that are mirrored.")
    jitter: float = _setting(0.3, "Strength of the colour jitter.")
    depth_scale: bool = _setting(False, "Divide depth by the zoom, as if the camera came nearer.")
    corrupt: dict[str, float] = _setting({}, "Greatest severity of a corruption (noise_x, holes_x, shift_x, low_light,"
                                             " ...; see fusionzoo robustness); each image draws its own.")  # fmt: skip
    ema: float = _setting(0.995, "Decay of the averaged weights, which are validated and saved; 0: none.")
    loss: dict[str, float] = _setting(LOSS, "Factor of cross_entropy, dice, iou or lovasz. [default: cross_entropy=1]")
    balance: float = _setting(0.0, "Power of the class weights of cross-entropy; 0: none.")
    balance_by: str = _setting("median", "Class weights: median frequency, or inverse logarithm.",
                               choices=("median", "log"))  # fmt: skip
    ohem: float = _setting(0.0, "Share of the pixels that count in cross-entropy, the hardest; 0: all.")
    label_smoothing: float = _setting(0.0, "Of cross-entropy, 0..1.")
    auxiliary: dict[str, float] = _setting({}, "Factor of an auxiliary loss (side: of side heads; rule; streams; ...)"
                                           " instead of the model's own; 0: off.")  # fmt: skip
    drop_modality: float = _setting(0.0, "Share of images that lose an input, rgb or x evenly.")
    teacher: str = _setting("", "Checkpoint to learn from (bundled name, folder, Hub id).", flag="NAME", free=True)
    distill: dict[str, float] = _setting(
        DISTILL, "Factor of the teacher's logits or features; one that is not named is left out. [default: 1 each]"
    )
    temperature: float = _setting(2.0, "Of the teacher's and the student's logits in distillation.")
    decoder_args: dict[str, Any] = _setting({}, "Option of a new model's decoder.")
    fusion_args: dict[str, Any] = _setting({}, "Option of a new model's fusion blocks.")
    amp: bool = _setting(False, "bfloat16 autocast.", adjustable=True)
    channels_last: bool = _setting(True, "Memory format of the convolutions.")
    compile: bool = _setting(False, "torch.compile the training step.")
    half: bool = _setting(False, "Save matrices in float16.")
    limit: int | None = _setting(None, "Use at most so many images of each split.")
    align: bool = _setting(False, "Resample x of another size than rgb to it, by nearest.")
    empty: str = _setting("refuse", "Images without any valid x: refuse, skip them, or keep them for their rgb.",
                          choices=("refuse", "skip", "keep"))  # fmt: skip
    cache: bool = _setting(True, "Keep decoded images in memory.", free=True)
    cache_dir: str = _setting("", "Keep them in a file in this folder, mapped into memory.", flag="DIR", free=True)
    workers: int = _setting(0, "Processes that read and augment images.", free=True)
    state_steps: int = _setting(0, "Steps between states to resume from; 0: after each epoch.", free=True)

    def __post_init__(self) -> None:
        for name in ("size", "base", "scale", "test_size"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        for name, low in (("epochs", 1), ("batch_size", 1), ("val_every", 1), ("workers", 0), ("lr", 0),
                          ("encoder_lr", 0), ("weight_decay", 0), ("balance", 0), ("accumulate", 1), ("clip", 0),
                          ("state_steps", 0)):  # fmt: skip
            if getattr(self, name) is not None and not low <= getattr(self, name) < float("inf"):
                raise InputError(f"{name} ({getattr(self, name)}) starts at {low}")
        if not 0 < self.layer_decay <= 1:
            raise InputError(f"layer_decay ({self.layer_decay}) is not in (0, 1]; 1 gives all layers one rate")
        for name in ("size", "base", "test_size"):
            if (value := getattr(self, name)) is not None and (len(value) != 2 or min(value) < 1):
                raise InputError(f"{name} {value} is not (height, width), both positive")
        if not 0 <= self.seed < 1 << 32:
            raise InputError(f"seed {self.seed} is not in 0..4294967295")
        if not 0 <= self.ema < 1 or not 0 <= self.drop_modality <= 1:
            raise InputError(f"ema {self.ema} is not in [0, 1), or drop_modality {self.drop_modality} not in [0, 1]")
        if self.warmup is not None and self.warmup < 0:
            raise InputError(f"warmup ({self.warmup}) starts at 0")
        for name in ("ohem", "label_smoothing", "flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} {getattr(self, name)} is not in [0, 1]")
        if not 0 < self.temperature < float("inf"):
            raise InputError(f"temperature {self.temperature} is not above 0")
        for part, known in (("auxiliary", None), ("corrupt", None), ("loss", _LOSSES), ("distill", DISTILL)):
            for name, factor in getattr(self, part).items():
                if known is not None:
                    check_known(f"part of the {part}", name, known, f"--{part} NAME=FACTOR")
                if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 <= factor < float("inf"):
                    raise InputError(f"{part} {name}={factor} is no factor; give a number from 0, such as {name}=0.1")
        if not any(self.loss.values()):
            raise InputError("loss has no part with a factor above 0; give cross_entropy=1")
        if self.teacher and not any(self.distill.values()):
            raise InputError(
                f"teacher {self.teacher} teaches nothing: distill has no factor above 0; give logits=1, features=1 or"
                " both"
            )
        for name in ("balance", "ohem", "label_smoothing"):
            if (value := getattr(self, name)) and not self.loss.get("cross_entropy"):
                raise InputError(
                    f"{name} ({value}) acts on cross-entropy, which the loss ({', '.join(self.loss)}) does not have;"
                    " leave it out, or add cross_entropy=1"
                )
        for name, usual, needed in (("temperature", 2.0, "teacher"), ("distill", DISTILL, "teacher"),
                                    ("balance_by", "median", "balance")):  # fmt: skip
            if (value := getattr(self, name)) != usual and not getattr(self, needed):
                raise InputError(f"{name} ({value}) does nothing without {needed}; give --{needed}, or leave it out")
        if self.cache_dir and not self.cache:
            raise InputError(f"cache_dir ({self.cache_dir}) is for a cache, and there is to be none; leave one out")
        for f in fields(self):
            if (choices := f.metadata.get("choices")) and getattr(self, f.name) not in choices:
                raise InputError(f"{f.name} is {getattr(self, f.name)!r}; give one of {', '.join(choices)}")

    @classmethod
    def free(cls) -> frozenset[str]:
        """Fields in which a resumed run may differ: names of places, and what changes no number."""
        return frozenset({"model", "data"} | {f.name for f in fields(cls) if f.metadata.get("free")})

    @classmethod
    def adjustable(cls) -> frozenset[str]:
        """Fields in which a resumed run may differ though they change numbers: what to turn when a loss diverged."""
        return frozenset(f.name for f in fields(cls) if f.metadata.get("adjustable"))

    def calmer(self) -> str:
        """Flags with which a run of these settings that diverged may go on.

        >>> Settings("sum_mobilenetv1-025_fpn", "planted", amp=True).calmer()
        '--resume --lr 0.0001 --no-amp'
        """
        words = ["--resume", f"--lr {self.lr / 10:.2g}"]
        if self.encoder_lr is not None:
            words.append(f"--encoder-lr {self.encoder_lr / 10:.2g}")
        if not self.clip:
            words.append("--clip 5")
        if self.amp:
            words.append("--no-amp")
        return " ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values: dict[str, Any] = encode(self)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """Inverse of `to_dict`, strictly. InputError names an unknown field and the closest known one."""
        return decode(cls, values, "settings")
