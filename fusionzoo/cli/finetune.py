"""`fusionzoo finetune MODEL --data SPEC --out DIR`: flags -> `fusionzoo.train.Settings` -> a checkpoint folder.

Each field of Settings is one flag, with its default and help.
"""

from __future__ import annotations

import signal
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import click

from fusionzoo.cli.output import Pair, json_option, print_json, say
from fusionzoo.errors import FusionZooError
from fusionzoo.tasks import CLASSIFICATION, spoken, stored_task, unstored
from fusionzoo.train.settings import Settings

__all__ = ["command"]


class _Numbers(click.ParamType):
    """`2x3` -> (2, 3): two numbers."""

    name = "AxB"

    def __init__(self, kind: Callable[[str], Any]) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        parts = value.lower().split("x")
        try:
            first, second = (self.kind(part) for part in parts)
        except ValueError:
            self.fail(f"{value!r} is not two numbers such as 120x160", param, ctx)
        return first, second


def _option(f: Field[Any], hint: Any) -> Callable[[Any], Any]:
    """The flag of a field of Settings, of type `hint`."""
    flag, text = "--" + f.name.replace("_", "-"), f.metadata["help"]
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(t for t in get_args(hint) if t is not type(None))
    if hint is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", default=f.default, show_default=True, help=text)
    if get_origin(hint) is dict:
        return click.option(flag, type=Pair(), multiple=True, help=text)
    default: Any = f.default
    given: dict[str, Any] = {"default": default, "help": text, "show_default": default not in (None, "")}
    if get_origin(hint) is tuple:
        given["type"] = _Numbers(get_args(hint)[0])
        given["show_default"] = "x".join(map(str, default)) if default else False
    else:
        given["type"] = click.Choice(f.metadata["choices"]) if f.metadata["choices"] else hint
    if f.metadata["flag"]:
        given["metavar"] = f.metadata["flag"]
    return click.option(flag, **given)


def _settings_options(function: Callable[..., Any]) -> Callable[..., Any]:
    hints = get_type_hints(Settings)
    for f in reversed(fields(Settings)):
        if f.name not in ("model", "data"):
            function = _option(f, hints[f.name])(function)
    return function


@click.command(name="finetune")
@click.argument("model")
@click.option("--data", required=True, metavar="SPEC", help="planted, folder:PATH, ... (list --data).")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="New folder for the checkpoint.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with a run that was cut off, in the same folder; rates, --clip and --amp may differ.",
)
@click.option("--device", help="cpu, cuda, ...; default: cuda where there is one.")
@click.option("--tensorboard", is_flag=True, help="Write OUT/tensorboard too (pip install fusionzoo[train]).")
@_settings_options
@json_option
def command(
    model: str,
    data: str,
    out: str,
    resume: bool,
    device: str | None,
    tensorboard: bool,
    as_json_: bool,
    **flags: Any,
) -> None:
    """Train a model, or continue from a checkpoint, on your data.

    MODEL is an architecture (new weights) or a checkpoint (bundled name, folder, Hub name), which is fitted to the
    classes of the data. The best checkpoint by validation mIoU (of scene types: balanced accuracy) is kept, loadable at
    any time. After Ctrl-C, SIGTERM or a kill, --resume goes on from the step where the run stopped, or from the last
    state (see --state-steps); with more --epochs it extends a finished run. While it trains, OUT/training.html shows
    curves and pictures. On several GPUs: torchrun --nproc-per-node N --no-python fusionzoo finetune ...
    """
    from fusionzoo.cli.watch import Watch
    from fusionzoo.train import finetune

    for f in fields(Settings):
        if f.default_factory is not MISSING:
            flags[f.name] = dict(flags[f.name]) or f.default_factory()
    settings = Settings(model=model, data=data, **flags)
    with stoppable(out) as look, Watch(Path(out), tensorboard=tensorboard) as watch:
        last = finetune(settings, out, resume=resume, device=device, note=lambda text: watch.say(f"note: {text}"),
                        stop=look, step=watch.step, show=watch.show, look=watch.look,
                        progress=lambda line: watch.epoch(line, _line(line, settings.epochs)))  # fmt: skip
    if not watch.first:
        return
    if as_json_:
        print_json({"out": out, **last})
        return
    best = unstored(last).get("best_miou")
    text = f"wrote {out}" + ("" if best is None else f"; best validation mIoU {100 * best:.1f}")
    say(spoken(text, stored_task(last)))


class _Signal(BaseException):
    """SIGINT or SIGTERM has come."""


class _Stopped(FusionZooError):
    """A run that was stopped from outside, with what is left of it."""

    def __init__(self, out: str, number: int) -> None:
        folder, self.exit_status = Path(out), 128 + number
        text = "interrupted" if number == signal.SIGINT else "stopped"
        if (folder / "model.safetensors").is_file():
            text += f"; {out} holds the best weights so far"
        else:
            text += " before the first epoch ended"
        if (folder / "state.pt").is_file():
            text += "; the same command with --resume goes on"
        super().__init__(text)


@contextmanager
def stoppable(out: str) -> Iterator[Callable[[], None]]:
    """Ctrl-C and SIGTERM end a run in one line that says how to go on.

    Yields what training calls between its steps, where it can stop without losing anything.
    """
    came: list[int] = []
    training = False

    def handle(number: int, frame: types.FrameType | None) -> None:
        came.append(number)
        if not training or len(came) > 1:  # before training nothing is lost; who asks twice does not want to wait
            raise _Signal

    def look() -> None:
        nonlocal training
        training = True
        if came:
            raise _Signal

    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield look
    except (_Signal, KeyboardInterrupt):
        raise _Stopped(out, came[0] if came else signal.SIGINT) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _line(line: dict[str, Any], epochs: int) -> str:
    """One epoch for a person."""
    task, line = stored_task(line), unstored(line)
    parts = [f"epoch {line['epoch']}/{epochs}", f"loss {line['loss']:.3f}"]
    if line.get("miou") is not None:
        parts.append(spoken(f"mIoU {100 * line['miou']:.1f} (best {100 * line['best_miou']:.1f})", task))
    if line.get("pixel_accuracy") is not None:
        parts.append(f"accuracy {100 * line['pixel_accuracy']:.1f}")
    if (found := line.get("saliency")) is not None:
        parts.append(f"S {found['s_measure']:.3f} E {found['e_max']:.3f} F {found['f_max']:.3f} MAE {found['mae']:.3f}")
    if (found := line.get("scene")) is not None:
        parts.append(spoken(f"scene mIoU {100 * found['miou']:.1f}", CLASSIFICATION))
    return "  ".join([*parts, f"{line['seconds']:.0f} s"])
