"""The data of a training run: opened as the model takes it, kept in memory or on the disk, read by workers or not."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader

from fusionzoo.data import Cached, as_kind, parse_spec
from fusionzoo.data.spec import GENERATED, label_maps
from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.models import FusionModel
from fusionzoo.train.settings import Settings

__all__ = ["loader", "sample_bytes", "training_data", "validation_data"]


def training_data(settings: Settings, start: FusionModel | None, say: Callable[[str], None] | None = None) -> Any:
    """The training split, large enough for the largest zoom, as the checkpoint `start`, or the encoders of it,
    take it; not augmented.

    `say` is told where that is not all of x, or another kind of it.
    """
    zoomed = (round(settings.base[0] * settings.scale[1]), round(settings.base[1] * settings.scale[1]))
    try:
        return _open(settings, start, say, split=settings.train_split, size=zoomed, label_size="input")
    except UnknownNameError as error:
        if (error.kind, error.names) != ("split", ("all",)):
            raise
        raise InputError(f"{error}; --train-split all --val-split '' trains on all images of it") from error


def validation_data(settings: Settings, start: FusionModel | None) -> Any:
    """The validation split at the size of validation, labels at full resolution; None without one."""
    if not settings.val_split:
        return None
    try:
        return _open(settings, start, None, split=settings.val_split, size=settings.test_size or settings.base)
    except UnknownNameError as error:
        raise InputError(f"{error}; --val-split names the validation split, '' trains without validation") from error


def _open(settings: Settings, start: FusionModel | None, say: Callable[[str], None] | None, **options: Any) -> Any:
    kind = settings.data.partition(":")[0]
    classes = settings.num_classes
    if classes is None and start is not None and not settings.init and start.num_classes in label_maps(kind):
        classes = start.num_classes
    options |= {"num_classes": classes, "limit": settings.limit}
    if kind not in GENERATED:
        options |= {"align": settings.align or None, "empty_depth": "keep"}  # `ready` sees to images without depth
    cached = settings.cache and not settings.cache_dir
    drawn = cached and kind in GENERATED
    data = _drawn(settings.data, tuple(options.items())) if drawn else parse_spec(settings.data, **options)
    fitted = data
    if start is not None:
        way = f"start from the architecture's name instead: fusionzoo finetune {start.architecture}"
        if settings.init:
            way = "leave out --init, or start from another encoder's weights"
        try:
            fitted = as_kind(data, start.preprocess.x_kind)
        except InputError as error:
            raise InputError(f"{error}; {way}") from error
        if fitted.x_channels != start.x_channels:
            raise InputError(
                f"{settings.init or settings.model} takes {start.x_channels} x channels, {data.name} has"
                f" {fitted.x_channels}; {way}"
            )
        if say is not None and fitted.x_kind != data.x_kind:
            say(f"x is {fitted.x_kind}, as {settings.init or settings.model} takes it, of the data's {data.x_kind}")
    if settings.cache_dir:
        return Cached(fitted, settings.cache_dir)
    if not cached or (drawn and fitted is data):
        return fitted
    return parse_spec(settings.data, **options, cache=True) if fitted is data else Cached(fitted)


@functools.lru_cache(maxsize=2)
def _drawn(spec: str, options: tuple[tuple[str, Any], ...]) -> Any:
    """Generated scenes, drawn once for all runs of a process: a short run spends a third of its time on them."""
    return parse_spec(spec, **dict(options), cache=True)


def sample_bytes(data: Any) -> int:
    """Bytes that a sample of `data` takes in a cache, judged by the first; depth files may take half as much for x."""
    first = data[0]
    return int(first["rgb"].numel() + 4 * first["x"].numel() + first["label"].numel())


def loader(
    data: Any, batch_size: int, *, workers: int = 0, collate_fn: Callable[..., Any] = list, **options: Any
) -> Any:
    """A DataLoader of `data`; by default its batches are lists of samples, of any sizes.

    Workers are forks, which fill one cache together; a signal to stop ends them silently.
    """
    context = "fork" if workers else None
    return DataLoader(data, batch_size, collate_fn=collate_fn, num_workers=workers, worker_init_fn=_quiet,
                      multiprocessing_context=context, **options)  # fmt: skip


def _quiet(worker: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
