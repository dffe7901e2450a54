"""What every model of the zoo shares: inputs, preprocessing, config, sizes, probe names, saving."""

from __future__ import annotations

import importlib
import os
import re
import tempfile
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.modalities import names_of, parts_of
from fusionzoo.models.arguments import recorded
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe, probe_points
from fusionzoo.tasks import CLASSIFICATION, SEGMENTATION

__all__ = ["FORMAT_VERSION", "SIDE", "SIDE_FACTOR", "FusionModel"]

FORMAT_VERSION = 1
SIDE = "side"
"""Name of the loss of side heads (`FusionModel.side_scores`) among the auxiliary losses."""
SIDE_FACTOR = 1.0
"""Of the mean of the side heads' losses in training, beside the main one. Ours: no published weighting was at hand."""


class _Reached(torch.autograd.Function):
    """Identity of `output` whose backward gives every parameter a gradient of zero beside what it gets otherwise."""

    @staticmethod
    def forward(output: Tensor, *parameters: Tensor) -> Tensor:
        return output.view_as(output)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.reached = [(p.shape, p.dtype, p.device) for p in inputs[1:]]  # no tensor: weights may change meanwhile

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        zeros = (torch.zeros((), dtype=dtype, device=device).expand(shape) for shape, dtype, device in ctx.reached)
        return gradients[0], *zeros


class FusionModel(nn.Module):
    """Base of all models: `model(rgb, x) -> logits (B, K, H, W)` at the input size, for any H and W; of a model whose
    `task` is "classification" (B, K, 1, 1).

    With several auxiliary modalities (`modalities` names them, by the kinds in `preprocess.x_kind`) they may be given
    one by one, `model(rgb, x1, x2, ...)`, or as one x with all their channels.

    Inputs are normalised by `model.preprocess`, and brought to the type of the model's parameters: a half-precision
    model takes them as they are. A modality given as None is replaced by zeros, that is by its mean after
    normalisation: the model's declared substitute. Both None is an error.

    In training mode the logits reach every parameter. Those that a plain forward pass has no use for (side heads, what
    the last stage makes for a next one) get a gradient of zero, so that DistributedDataParallel needs no search for
    unused parameters; in evaluation mode nothing is added.

    The constructor's arguments are recorded as `model_args`, all but `preprocess` and those that the registered name
    (`architecture`) fixes; a constructor that fills in a default by itself writes the filled-in value there.

    Subclasses implement `scores(rgb, x)` on inputs whose sides are multiples of `stride`, or what it is made of.
    """

    stride: ClassVar[int] = 32
    needs: tuple[str, ...] = ("rgb", "x")
    """Which inputs the model reads; a baseline that reads only one ignores the other."""

    task: str = SEGMENTATION
    """What it says of an image, see `fusionzoo.tasks`."""
    num_scenes: int = 0
    """Scene types that a joint model says beside the classes of pixels (`TwoStream`); 0: it says none."""
    architecture: str = ""
    """The registered name from which the model is built again; a class that is not registered may give its own."""
    model_args: dict[str, Any]

    def __new__(cls, *args: Any, **options: Any) -> Self:
        model = super().__new__(cls)
        name, model.model_args = recorded(cls, args, options)
        model.architecture = name or cls.architecture
        return model

    def __init__(self, num_classes: int, x_channels: int, preprocess: Preprocess | dict[str, Any] | None) -> None:
        super().__init__()
        for key, value in {"num_classes": num_classes, "x_channels": x_channels}.items():
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise InputError(f"{key} is {value!r}; give a whole number from 1")
        self.num_classes = num_classes
        self.x_channels = x_channels
        if isinstance(preprocess, dict):
            preprocess = Preprocess.from_dict(preprocess)
        if preprocess is None and x_channels > 1:
            many = {"x_mean": (0.5,) * x_channels, "x_std": (0.25,) * x_channels}
            preprocess = Preprocess(x_kind="hha", x_scale=1 / 255, **many)
        self.preprocess: Preprocess = preprocess or Preprocess()
        if self.preprocess.x_channels != x_channels:
            raise InputError(
                f"the preprocessing is for {self.preprocess.x_channels} x channels, the model for {x_channels}"
            )
        self.class_names: list[str] = [f"class {i}" for i in range(num_classes)]
        self.input_size: tuple[int, int] | None = None

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the inputs in order, for example ("rgb", "depth")."""
        return ("rgb", *names_of(self.preprocess.x_kind))

    @property
    def levels(self) -> dict[int, dict[str, str]]:
        """Stage -> {"rgb" | "x" | "fused": probe name}: the stages that fuse, or all where none makes a fused map."""
        names = {"rgb": "stage{}.rgb", "x": "stage{}.x", "fused": "stage{}.fusion.fused"}
        stages = sorted(int(name[5:]) for name, _ in self.named_children() if re.fullmatch(r"stage\d+", name))
        found = {i: {k: n.format(i) for k, n in names.items() if self._has_probe(n.format(i))} for i in stages}
        return {i: at for i, at in found.items() if "fused" in at} or found

    def _has_probe(self, name: str) -> bool:
        found: Any = self
        for part in name.split("."):
            found = getattr(found, part, None)
        return isinstance(found, Probe)

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        """(B, 3, H, W), (B, Cx, H, W) with H, W multiples of `stride` -> (B, K, h, w) at any smaller size.

        Where a model does not say otherwise: `logits` of what `decoder` makes of its `features(rgb, x)`.
        """
        own: Any = self
        out: Tensor = own.logits(own.decoder(own.features(rgb, x)))
        return out

    def scores_and_sides(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """`scores`, and of the same pass those of heads that only training reads, (B, K, h, w) each, finest first.

        A model with such heads gives them here, declares the factor of their loss as SIDE in `loss_factors`, and has
        no other auxiliary loss. Most models have none.
        """
        return [self.scores(rgb, x)]

    def forward(self, rgb: Tensor | None = None, x: Tensor | None = None, *more: Tensor | None) -> Tensor:
        """Normalised rgb (B, 3, H, W) and x (B, Cx, H, W), or several x one by one -> logits (B, K, H, W)."""
        return self._sized(rgb, self.joined(x, *more) if more else x, 1)

    def joined(self, *xs: Tensor | None) -> Tensor | None:
        """The auxiliary modalities, in the order of `modalities`, as one x; None (zeros) for those that are missing.

        Raises:
            InputError: not as many as the model has, or channels or sizes that do not fit.
        """
        parts = parts_of(self.preprocess.x_kind, self.x_channels)
        if len(xs) != len(parts):
            raise InputError(
                f"{len(xs)} images beside rgb, but the model takes {len(parts)}: {', '.join(self.modalities[1:])}"
            )
        like = next((x for x in xs if x is not None), None)
        if like is None:
            return None
        found = []
        for part, x in zip(parts, xs, strict=True):
            channels = part.stop - part.start
            if x is None:
                x = like.new_zeros(like.shape[0], channels, *like.shape[2:])
            if x.ndim != 4 or x.shape[1] != channels or x.shape[2:] != like.shape[2:] or len(x) != len(like):
                wanted = f"({like.shape[0]}, {channels}, {', '.join(map(str, like.shape[2:]))})"
                raise InputError(f"{part.name} has shape {tuple(x.shape)}, wanted {wanted}")
            found.append(x)
        return torch.cat(found, dim=1)

    def _sized(self, rgb: Tensor | None, x: Tensor | None, step: int) -> Tensor:
        """Logits on a grid `step` times coarser than the input: (B, K, ceil(H / step), ceil(W / step))."""
        return self._all_sized(rgb, x, step, sides=False)[0]

    def _all_sized(self, rgb: Tensor | None, x: Tensor | None, step: int, *, sides: bool) -> list[Tensor]:
        """[logits of `_sized`, then what side heads say of the padded images]."""
        if not self.training:
            return self._on_grid(rgb, x, step, sides)
        try:
            out = self._on_grid(rgb, x, step, sides)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):  # batch norm's words
                raise
            raise InputError(
                "a batch of one image cannot be trained here: a batch norm behind pooling sees one value per channel;"
                " give batches of 2 or more (fusionzoo finetune: --batch-size; in your own loop drop_last=True"
                " leaves out a last batch of 1)"
            ) from error
        learning = [p for p in self.parameters() if p.requires_grad] if torch.is_grad_enabled() else []
        return [_Reached.apply(out[0], *learning), *out[1:]] if learning else out

    def _on_grid(self, rgb: Tensor | None, x: Tensor | None, step: int, sides: bool) -> list[Tensor]:
        rgb, x = self.inputs(rgb, x)
        height, width = rgb.shape[-2:]
        down, right = -height % self.stride, -width % self.stride
        if down or right:
            rgb, x = (F.pad(v, (0, right, 0, down), mode="replicate") for v in (rgb, x))
        out, *rest = self.scores_and_sides(rgb, x) if sides else [self.scores(rgb, x)]
        if self.task == CLASSIFICATION:
            return [out, *rest]
        size = (rgb.shape[-2] // step, rgb.shape[-1] // step)
        if tuple(out.shape[-2:]) != size:
            out = F.interpolate(out, size=size, mode="bilinear", align_corners=False)
        return [out[..., : -(-height // step), : -(-width // step)], *rest]

    def inputs(self, rgb: Tensor | None, x: Tensor | None) -> tuple[Tensor, Tensor]:
        """Checks shapes, puts the declared substitute (zeros) where a modality is None; the parameters' dtype."""
        if rgb is None and x is None:
            raise InputError("both modalities are None; give at least one")
        like: Tensor | None = None
        for like in self.parameters():  # a loop, since the compiler of torch 2.8 cannot follow next() with a default
            if like.is_floating_point():
                break
        else:
            like = None
        for name, value, channels in (("rgb", rgb, 3), ("x", x, self.x_channels)):
            if value is not None and (value.ndim != 4 or value.shape[1] != channels):
                parts = parts_of(self.preprocess.x_kind, self.x_channels) if name == "x" else ()
                told = ", ".join(f"{p.name} {p.stop - p.start}" for p in parts)
                each = f" ({told}), or each by itself" if len(parts) > 1 else ""
                raise InputError(f"{name} has shape {tuple(value.shape)}, wanted (B, {channels}, H, W){each}")
            if value is not None and not value.is_floating_point():
                raise InputError(f"{name} is {value.dtype}; give what model.preprocess(rgb, x) returns")
            if value is not None and 0 in value.shape:
                raise InputError(f"{name} has shape {tuple(value.shape)}: there is no image in it")
        if rgb is None:
            assert x is not None
            rgb = x.new_zeros(x.shape[0], 3, *x.shape[-2:])
        if x is None:
            x = rgb.new_zeros(rgb.shape[0], self.x_channels, *rgb.shape[-2:])
        if rgb.shape[0] != x.shape[0] or rgb.shape[-2:] != x.shape[-2:]:
            raise InputError(f"rgb {tuple(rgb.shape)} and x {tuple(x.shape)} differ in batch or size")
        return (rgb, x) if like is None else (rgb.to(like.dtype), x.to(like.dtype))

    @property
    def loss_factors(self) -> dict[str, float]:
        """Name of each auxiliary loss that `losses` gives -> its factor where training names no other.

        A loss that is not named here counts 1, and training cannot name another."""
        return {}

    def losses(self, rgb: Tensor, x: Tensor, *, step: int = 1) -> tuple[Tensor, dict[str, Tensor]]:
        """(logits, auxiliary losses by name); the base has none.

        `step` (a divisor of `stride`) gives logits on a grid that many times coarser: at full resolution, upsampling
        costs a third of a training step.
        """
        return self._sized(rgb, x, step), {}

    def side_scores(self, rgb: Tensor, x: Tensor, *, step: int = 1) -> list[Tensor]:
        """[logits as `losses` gives them, then the class scores of side heads, finest first]; of most models no more.

        A side head's (B, K, h, w) covers the images as they were padded, below and to the right, to multiples of
        `stride`. For training with all of them; `finetune` adds the mean of their segmentation losses as "side".
        """
        return self._all_sized(rgb, x, step, sides=True)

    def probe_points(self) -> dict[str, Probe]:
        """All probes by name."""
        return probe_points(self)

    def set_classes(self, names: Sequence[str]) -> None:
        """Names the classes; InputError unless there are `num_classes` of them."""
        if isinstance(names, str):
            raise InputError(f"the class names are the text {names!r}; give a list of names")
        if len(names) != self.num_classes:
            raise InputError(f"{len(names)} class names for {self.num_classes} classes")
        self.class_names = [str(n) for n in names]

    def config(self) -> dict[str, Any]:
        """Plain JSON values from which `fusionzoo.models.build` makes the same model, without weights."""
        return {
            "format_version": FORMAT_VERSION,
            "architecture": self.architecture,
            "model_args": self.model_args,
            "preprocess": self.preprocess.to_dict(),
            "modalities": list(self.modalities),
            "class_names": self.class_names,
            "input_size": list(self.input_size) if self.input_size else None,
        }

    def save_pretrained(self, folder: str | os.PathLike[str], **options: Any) -> Path:
        """Writes config.json, model.safetensors, a model card and a record (checksums, fingerprint), all or nothing.

        `options` are those of `fusionzoo.hub.save`: `half`, `card`, `record_fields`. Returns the folder.
        """
        self._shelf().save(self, folder, **options)
        return Path(folder)

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None, **options: Any) -> str:
        """Saves to a temporary folder, verifies it, and uploads it in one commit; returns the commit (40 hex).

        `options` are those of `save_pretrained`; `fusionzoo.hub.push` uploads a folder that is on the disk already.
        """
        with tempfile.TemporaryDirectory() as place:
            folder = self.save_pretrained(Path(place) / repo_id.rpartition("/")[2], **options)
            return str(self._shelf().push(folder, repo_id, private=private, token=token))

    shelf: ClassVar[str] = "fusionzoo.hub"
    """The room that keeps models. It stands above this one: named here, looked up only when a model is kept."""

    def _shelf(self) -> Any:
        return importlib.import_module(self.shelf)


def head(inp: int, num_classes: int, kernel: int) -> nn.Conv2d:
    """The last convolution: (B, inp, h, w) -> (B, K, h, w), small weights so that training starts near uniform."""
    conv = nn.Conv2d(inp, num_classes, kernel, padding=kernel // 2)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv
