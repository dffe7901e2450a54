"""The lazy command group, and how any failure becomes one line on stderr and an exit status.

Status 0: fine. 1: a check was carried out and failed. 2: wrong use or input, or the system refused (disk full, no
permission). 3: a defect of fusionzoo. 130: interrupted. `FUSIONZOO_DEBUG=1` shows the traceback as well.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import click

from fusionzoo import __version__
from fusionzoo.errors import FusionZooError, FusionZooWarning, closest
from fusionzoo.hub.markdown import clean

__all__ = ["COMMANDS", "main", "one_line", "status_of"]

COMMANDS = {
    "list": "List checkpoints, fusion strategies, architectures or data sets.",
    "info": "Show what is known of a checkpoint, strategy or architecture.",
    "check": "Verify checkpoints, dissect them on data, say how they use each modality.",
    "trace": "Ablate, swap and restore each stage of each modality; say what the prediction rests on.",
    "robustness": "Measure a checkpoint with missing modalities and corrupted images.",
    "predict": "Segment images and draw the classes over them; without -o say the class of whole images.",
    "demo": "Serve a page to click: two pictures in, classes and modality map out.",
    "hha": "Turn a depth image into HHA: horizontal disparity, height above ground, angle with gravity.",
    "data": "Look at a data set before anything is trained.",
    "finetune": "Train a model, or continue from a checkpoint, on your data.",
    "bench": "Compare fusion strategies fairly: one protocol, only the fusion changes.",
    "export": "Write a model as ONNX or torch.export, after a comparison with PyTorch.",
    "convert": "Turn foreign weights into safetensors and JSON.",
    "push": "Upload a checkpoint folder to the Hub.",
}
"""Name -> first line of its help, so that the overview imports no command; a test compares."""

EPILOG = """Exit status: 0 fine, 1 a check failed, 2 wrong use or input, 3 a defect of fusionzoo, 130 interrupted.
FUSIONZOO_DEBUG=1 shows the traceback of an error."""


class _ReaderGone(Exception):
    """Whoever read our stdout has closed it."""


class _Group(click.Group):
    """Imports `fusionzoo.cli.NAME` when command NAME is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"fusionzoo.cli.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = closest(args[0], COMMANDS, 1)
            advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(COMMANDS)}"
            ctx.fail(f"unknown command {args[0]!r}; {advice}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # click would answer with status 1, which here means a failed check
            raise _ReaderGone from error

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> Any:
        extra.pop("standalone_mode", None)
        debug = os.environ.get("FUSIONZOO_DEBUG") == "1"
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("default", category=UserWarning, module="fusionzoo")  # never an error here
                warnings.filterwarnings("default", category=FusionZooWarning)
                if not debug:
                    warnings.showwarning = _show_warning
                returned = super().main(args, prog_name or "fusionzoo", standalone_mode=False, **extra)
            sys.stdout.flush()
            status = returned if isinstance(returned, int) else 0
        except (BrokenPipeError, _ReaderGone):
            # the reader has gone (`| head`): nothing is left to say; keep the interpreter from flushing again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 128 + 13
        except Exception as error:
            if debug:
                traceback.print_exc()
            click.echo(one_line(error), err=True)
            status = status_of(error)
            _drop_unwritten(error)
        sys.exit(status)


def _show_warning(message: Warning | str, *where: Any, **more: Any) -> None:
    """A warning in one line on stderr, without the place in the code."""
    click.echo(f"fusionzoo: warning: {clean(message)}", err=True)


def status_of(error: BaseException) -> int:
    """The exit status that an exception answers with."""
    if isinstance(error, FusionZooError):
        return error.exit_status
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return 130
    if isinstance(error, click.ClickException):
        return 2
    return 2 if isinstance(error, OSError | MemoryError) or type(error).__name__ == "OutOfMemoryError" else 3


def one_line(error: BaseException) -> str:
    """`fusionzoo: error: ...` in one line without control characters."""
    if isinstance(error, click.Abort | KeyboardInterrupt):
        words = "interrupted"
    elif isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "fusionzoo"
        words = f"{error.format_message().rstrip('.')} (see: {path} --help)"
    elif isinstance(error, click.ClickException):
        words = error.format_message()
    elif isinstance(error, FusionZooError):
        words = str(error)
    elif isinstance(error, OSError):
        place = f": {error.filename}" if error.filename is not None else ""
        words = f"{error.strerror or error or type(error).__name__}{place}"
    elif isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        words = "out of memory; a smaller --batch-size or --limit may help"
    else:
        words = f"a defect of fusionzoo: {type(error).__name__}: {error} (FUSIONZOO_DEBUG=1 shows the traceback)"
    return f"fusionzoo: error: {clean(words)}"


def _drop_unwritten(error: BaseException) -> None:
    """After a full disk behind stdout the buffer cannot be written: empty it, so that the exit status stays ours."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG):
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(name="fusionzoo", cls=_Group, epilog=EPILOG, context_settings=_SETTINGS)
@click.version_option(__version__, prog_name="fusionzoo", message="%(prog)s %(version)s")
def main() -> None:
    """RGB-D and RGB-X fusion models: load them, check what they use each modality for, fine-tune them."""
