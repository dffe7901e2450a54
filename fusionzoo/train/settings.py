"""What a training run is: one flat dataclass, written beside the checkpoint, compared on resume."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from fusionzoo.errors import InputError, closest

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Settings of `finetune`.

    Args:
        model: an architecture name, or a checkpoint to continue from (bundled name, folder, Hub id).
        data: "planted", "nyuv2:PATH", "folder:PATH".
        num_classes: of the data set's label map; None: its default.
        init: folder of a converted ImageNet encoder (`fusionzoo convert`), "" for random weights.
        train_split, val_split: split names; val_split "" trains without validation and keeps the last weights.
        val_every: epochs between validations; the last epoch is always validated.
        epochs, batch_size, seed: as usual. A data set generated on the fly counts its own length as an epoch.
        lr, encoder_lr: AdamW peak learning rates of the new parts and of initialised encoders; weight_decay.
        size: crop (H, W). base: size of the whole image at zoom 1. scale: range of the zoom. test_size: whole image
            at validation.
        jitter: strength of the colour jitter.
        ema: decay of the averaged weights that are validated and saved, 0 for none.
        balance: power of the class weights (see `class_weights`).
        auxiliary: factors of the model's auxiliary losses by name.
        drop_modality: probability that a training image loses one of its modalities (chosen evenly).
        decoder_args, fusion_args: options of new models.
        amp: bfloat16 autocast. half: save matrices in float16.
    """

    model: str
    data: str
    num_classes: int | None = None
    init: str = ""
    train_split: str = "train"
    val_split: str = "val"
    val_every: int = 1
    epochs: int = 30
    batch_size: int = 16
    seed: int = 0
    lr: float = 1e-3
    encoder_lr: float = 3e-4
    weight_decay: float = 0.01
    size: tuple[int, int] = (128, 160)
    base: tuple[int, int] = (120, 160)
    scale: tuple[float, float] = (1.0, 1.6)
    test_size: tuple[int, int] | None = None
    jitter: float = 0.3
    ema: float = 0.995
    balance: float = 0.0
    auxiliary: dict[str, float] = field(default_factory=lambda: {"consistency": 0.1, "decorrelation": 0.1})
    drop_modality: float = 0.0
    decoder_args: dict[str, Any] = field(default_factory=dict)
    fusion_args: dict[str, Any] = field(default_factory=dict)
    amp: bool = False
    half: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("size", "base", "scale", "test_size"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        if self.epochs < 1 or self.batch_size < 1:
            raise InputError(f"epochs ({self.epochs}) and batch_size ({self.batch_size}) start at 1")
        if not 0 <= self.ema < 1 or not 0 <= self.drop_modality <= 1:
            raise InputError(f"ema {self.ema} is not in [0, 1), or drop_modality {self.drop_modality} not in [0, 1]")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """Inverse of `to_dict`; InputError names an unknown key and the closest known one."""
        known = [f.name for f in fields(cls)]
        for key in values:
            if key not in known:
                near = closest(key, known, 1)
                raise InputError(f"unknown setting {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return cls(**values)
