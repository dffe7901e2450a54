"""finetune: train a model on a data set, validate, keep the best, resume after a kill.

One process, CPU or one GPU. `out/` becomes a checkpoint folder; beside it lie `settings.json`, `log.jsonl` (a line an
epoch) and `state.pt` (everything needed to go on, replaced atomically after each epoch, removed at the end).
"""

from __future__ import annotations

import copy
import json
import math
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fusionzoo.data import collate, parse_spec, train_transform
from fusionzoo.errors import InputError
from fusionzoo.files import atomic_path, atomic_write, dump_json
from fusionzoo.hub.convert import encoder_state
from fusionzoo.hub.load import from_pretrained
from fusionzoo.hub.save import save
from fusionzoo.models import FusionModel, TwoStream, create_model
from fusionzoo.models.base import init_x_from_rgb
from fusionzoo.models.presets import is_architecture
from fusionzoo.train.evaluate import evaluate
from fusionzoo.train.losses import class_weights, segmentation_loss, total
from fusionzoo.train.settings import Settings

__all__ = ["finetune"]


def finetune(
    settings: Settings,
    out: str | Path,
    *,
    resume: bool = False,
    record_fields: dict[str, Any] | None = None,
    device: str | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Trains as `settings` say and writes the checkpoint folder `out`.

    Args:
        settings: see `Settings`.
        out: a new or empty folder; with `resume`, the folder of a run that was cut off, with equal settings.
        record_fields: fields for the checkpoint's record beyond those the run knows (name, metrics, ...).
        device: "cpu", "cuda", ...; None: cuda where there is one.
        progress: called with each epoch's log line.

    Returns:
        The last log line: {"epoch", "loss", "miou", "best_miou", "seconds", ...}; miou is a fraction, None without
        validation.

    Raises:
        InputError: settings that do not fit the data or the model, `out` in use, a state of other settings.
    """
    out = Path(out)
    state_file = out / "state.pt"
    if resume and not state_file.is_file():
        raise InputError(f"{out} holds no state.pt to resume from: the run is finished, or never began")
    if not resume and out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty; add --resume to continue a run that was cut off, or name a new folder")
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    torch.manual_seed(settings.seed)

    train, val = _datasets(settings)
    model = _model(settings, train).to(where)
    model.to(memory_format=torch.channels_last)
    weight = class_weights(_count(train), settings.balance).to(where) if settings.balance else None
    steps = max(1, len(train) // settings.batch_size)
    optimiser = torch.optim.AdamW(_groups(model, settings), weight_decay=settings.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _curve(settings.epochs * steps))
    average = copy.deepcopy(model).eval() if settings.ema else model
    epoch, best, seconds = 0, -1.0, 0.0
    kept = _copy(average)
    if resume:
        saved = _read_state(state_file, settings)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
        kept, epoch, best, seconds = saved["kept"], saved["epoch"], saved["best"], saved["seconds"]
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(out / "settings.json", dump_json(settings.to_dict()))
    line: dict[str, Any] = {}
    while epoch < settings.epochs:
        begun = time.monotonic()
        loss = _epoch(model, average, train, settings, optimiser, schedule, weight, epoch, steps)
        epoch += 1
        miou = None
        due = epoch % settings.val_every == 0 or epoch == settings.epochs
        if val is not None and due:
            miou = evaluate(average, val, batch_size=settings.batch_size, amp=settings.amp).miou
        if val is None or (miou is not None and miou > best):
            best, kept = (-1.0 if miou is None else miou), _copy(average)
        seconds += time.monotonic() - begun
        line = {"epoch": epoch, "loss": round(loss, 4), "miou": miou, "best_miou": None if best < 0 else best,
                "seconds": round(seconds, 1)}  # fmt: skip
        state = {"settings": settings.to_dict(), "model": model.state_dict(), "average": average.state_dict(),
                 "optimiser": optimiser.state_dict(), "schedule": schedule.state_dict(), "kept": kept, "epoch": epoch,
                 "best": best, "seconds": seconds}  # fmt: skip
        with atomic_path(state_file) as part:
            torch.save(state, part)
        with open(out / "log.jsonl", "a") as log:
            log.write(json.dumps(line) + "\n")
        if progress is not None:
            progress(line)
    average.load_state_dict(kept)
    recipe = {"command": command(settings, out), "seed": settings.seed, "epochs": settings.epochs,
              "resolution": list(settings.size), "init": _init_note(settings),
              "seconds": round(seconds, 1)}  # fmt: skip
    fields = {"recipe": recipe, "data": [{"name": train.name, "split": settings.train_split, "n": len(train)}]}
    save(average.cpu().eval(), out, half=settings.half, record_fields={**fields, **(record_fields or {})})
    state_file.unlink(missing_ok=True)
    return line


def command(settings: Settings, out: Path | str) -> str:
    """The command line that repeats the run; paths are shortened to their last part."""
    defaults = Settings(settings.model, settings.data).to_dict()
    words = ["fusionzoo finetune", settings.model, "--data", _short(settings.data), "--out", Path(out).name]
    for key, value in settings.to_dict().items():
        if key in ("model", "data") or value == defaults[key]:
            continue
        flag = "--" + key.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else "--no-" + flag[2:])
        elif isinstance(value, dict):
            words += [f"{flag} {k}={v}" for k, v in value.items()]
        elif isinstance(value, list):
            words.append(f"{flag} {'x'.join(map(str, value))}")
        else:
            words.append(f"{flag} {Path(value).name if key == 'init' else repr(value) if value == '' else value}")
    return " ".join(words)


def _short(spec: str) -> str:
    kind, colon, path = spec.partition(":")
    return f"{kind}:{Path(path).name}" if colon else kind


def _init_note(settings: Settings) -> str:
    if not settings.init:
        return "random"
    origin = encoder_state(settings.init)[1].get("origin", "")
    return f"both encoders from {origin}; x stem: RGB kernel summed over its channels"


def _datasets(settings: Settings) -> tuple[Any, Any]:
    given = {"num_classes": settings.num_classes, "limit": settings.limit}
    zoomed = (round(settings.base[0] * settings.scale[1]), round(settings.base[1] * settings.scale[1]))
    transform = train_transform(settings.size, settings.base, settings.scale, jitter=settings.jitter)
    train = parse_spec(settings.data, split=settings.train_split, size=zoomed, label_size="input", cache=True,
                       transform=transform, **given)  # fmt: skip
    val = None
    if settings.val_split:
        size = settings.test_size or settings.base
        val = parse_spec(settings.data, split=settings.val_split, size=size, cache=True, **given)
    return train, val


def _model(settings: Settings, train: Any) -> FusionModel:
    if not is_architecture(settings.model):
        model = from_pretrained(settings.model)
        if model.num_classes != train.num_classes or model.x_channels != train.x_channels:
            raise InputError(
                f"{settings.model} has {model.num_classes} classes and {model.x_channels} x channels, the data"
                f" {train.num_classes} and {train.x_channels}; start from the architecture name instead"
            )
        return model
    encoder, config = encoder_state(settings.init) if settings.init else ({}, {})
    known = config.get("preprocess", {})
    mean, std = _depth_statistics(train)
    preprocess = {**known, "x_kind": train.x_kind, "x_mean": mean, "x_std": std}
    options: dict[str, Any] = {"decoder_args": settings.decoder_args} if settings.decoder_args else {}
    if settings.fusion_args:
        options["fusion_args"] = settings.fusion_args
    model = create_model(settings.model, num_classes=train.num_classes, x_channels=train.x_channels,
                         preprocess=preprocess, **options)  # fmt: skip
    model.set_classes(train.class_names)
    model.input_size = settings.test_size or settings.base
    if encoder:
        for module in _encoders(model):
            try:
                module.load_state_dict(init_x_from_rgb(encoder, module.state_dict()), strict=True)
            except (KeyError, RuntimeError) as error:
                raise InputError(f"{settings.init} does not fit the encoder of {settings.model}: {error}") from error
    return model


def _encoders(model: FusionModel) -> list[nn.Module]:
    if isinstance(model, TwoStream):
        return [model.rgb_encoder, model.x_encoder]
    return [m for n, m in model.named_modules() if n.rpartition(".")[2] == "encoder"]


def _groups(model: FusionModel, settings: Settings) -> list[dict[str, Any]]:
    """Encoders that start from given weights learn at `encoder_lr`; vectors are not decayed."""
    slow = {id(p) for m in _encoders(model) for p in m.parameters()} if settings.init else set()
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for p in model.parameters():
        groups.setdefault((id(p) in slow, p.ndim > 1), []).append(p)
    return [
        {"params": ps, "lr": settings.encoder_lr if s else settings.lr} | ({} if decayed else {"weight_decay": 0.0})
        for (s, decayed), ps in groups.items()
    ]


def _curve(steps: int) -> Callable[[int], float]:
    """Linear warm-up over 5 % of the steps, then a cosine to zero."""
    warm = max(1, steps // 20)
    return lambda i: (i + 1) / warm if i < warm else 0.5 * (1 + math.cos(math.pi * (i - warm) / max(1, steps - warm)))


def _epoch(model: FusionModel, average: FusionModel, train: Any, settings: Settings, optimiser: torch.optim.Optimizer,
           schedule: Any, weight: Tensor | None, epoch: int, steps: int) -> float:  # fmt: skip
    """One epoch; its random numbers depend on (seed, epoch) only, so that a resumed run equals an unbroken one."""
    torch.manual_seed(settings.seed * 100003 + epoch)
    device = next(model.parameters()).device
    model.train()
    loader = DataLoader(train, settings.batch_size, shuffle=True, drop_last=len(train) >= settings.batch_size,
                        collate_fn=collate)  # fmt: skip
    sum_loss = 0.0
    for i, batch in enumerate(loader):
        rgb, x = model.preprocess(batch["rgb"].to(device), batch["x"].to(device))
        if settings.drop_modality:
            rgb, x = _drop(rgb, x, settings.drop_modality)
        rgb = rgb.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.amp):
            logits, auxiliary = model.losses(rgb, x, step=2)
        main = segmentation_loss(logits, batch["label"].to(device), weight)
        loss = total(main, auxiliary, settings.auxiliary)
        if not bool(torch.isfinite(loss)):
            raise InputError(
                f"the loss is {float(loss.detach())} in epoch {epoch + 1}, step {i + 1}; lower --lr or drop --amp"
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        sum_loss += float(loss.detach())
        if average is not model:
            _follow(average, model, settings.ema, epoch * steps + i)
    return sum_loss / max(1, i + 1)


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Exponential average of weights and statistics, with a shorter memory at the start."""
    decay = min(decay, (1 + step) / (10 + step))
    mine, theirs = average.state_dict(), model.state_dict()
    floats = [k for k, v in mine.items() if v.is_floating_point()]
    torch._foreach_lerp_([mine[k] for k in floats], [theirs[k] for k in floats], 1 - decay)
    for k in mine.keys() - set(floats):
        mine[k].copy_(theirs[k])


def _drop(rgb: Tensor, x: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """Zeros (the declared substitute) for rgb or for x in a share of the images."""
    draw = torch.rand(rgb.shape[0], 1, 1, 1, device=rgb.device)
    return rgb.masked_fill(draw < probability / 2, 0.0), x.masked_fill(draw > 1 - probability / 2, 0.0)


def _depth_statistics(train: Any, n: int = 64) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of valid x over `n` spread training images, 4 digits."""
    step = max(1, len(train) // n)
    values = torch.stack([train[i]["x"] for i in range(0, len(train), step)])  # (n, Cx, H, W)
    mean, std = [], []
    for channel in values.unbind(1):
        valid = channel[channel > 0].double()
        mean.append(round(float(valid.mean()), 4))
        std.append(round(max(float(valid.std()), 1e-4), 4))
    return tuple(mean), tuple(std)


def _count(train: Any) -> Tensor:
    """Labelled pixels per class over the training data."""
    counts = torch.zeros(256, dtype=torch.int64)
    for i in range(0, len(train), max(1, len(train) // 800)):
        counts += torch.bincount(train[i]["label"].flatten(), minlength=256)
    return counts[: train.num_classes]


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def _read_state(path: Path, settings: Settings) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0][:120]
        raise InputError(f"{path} cannot be read ({reason}); delete it and begin again") from error
    for key, value in settings.to_dict().items():
        if state["settings"].get(key) != value:
            raise InputError(f"{path} is of a run with {key} = {state['settings'].get(key)!r}, not {value!r}")
    return state
