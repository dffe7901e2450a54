"""`fusionzoo convert METHOD SOURCE OUT`: foreign weights in, safetensors and JSON out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fusionzoo.cli.index import CONVERSIONS
from fusionzoo.cli.output import Pair, json_option, print_json, say

__all__ = ["command"]


def _names(path: Path) -> list[str]:
    from fusionzoo.errors import InputError

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the class names in {path}: {error}") from error
    return [line.strip() for line in lines if line.strip()]


@click.command(name="convert", epilog=f"Methods: {', '.join(CONVERSIONS)}")
@click.argument("method")
@click.argument("source", type=click.Path())
@click.argument("out", type=click.Path())
@click.option(
    "--option",
    "options",
    multiple=True,
    type=Pair(),
    help="A constructor argument of the original that differs from the published setting; may be repeated.",
)
@click.option(
    "--classes", type=click.Path(dir_okay=False), help="Text file with the names of the classes, one a line, in order."
)
@click.option("--encoder", metavar="NAME", help="For METHOD encoder: what SOURCE is of, say tu-convnext_tiny.")
@click.option("--key", help="Name of the weights to take where SOURCE holds several, for example state_dict_ema.")
@json_option
def command(
    method: str,
    source: str,
    out: str,
    options: tuple[tuple[str, Any], ...],
    classes: str | None,
    encoder: str | None,
    key: str | None,
    as_json_: bool,
) -> None:
    """Turn foreign weights into safetensors and JSON.

    METHOD names the form of SOURCE, a downloaded file or folder. OUT is the folder to write. Nothing is unpickled
    freely. `encoder` reads image classifiers of timm, torchvision and smp, for fusionzoo finetune --init OUT.
    """
    from fusionzoo.hub import convert

    names = _names(Path(classes)) if classes is not None else None
    config = convert.run(method, source, out, dict(options), names, key, encoder)
    if as_json_:
        print_json(config)
        return
    size = sum(file.stat().st_size for file in Path(out).iterdir() if file.is_file())
    facts = [f"{config['num_params']:,} parameters"] if "num_params" in config else []
    facts += [f"{size / 1e6:.1f} MB", f"licence {config.get('licence') or 'not stated'}"]
    say(f"{out}: {', '.join(facts)}")
