"""`fusionzoo convert METHOD SOURCE OUT`: foreign weights in, safetensors and JSON out."""

from __future__ import annotations

from pathlib import Path

import click

from fusionzoo.cli.index import CONVERSIONS
from fusionzoo.cli.output import json_option, print_json, say

__all__ = ["command"]


@click.command(name="convert", epilog=f"Methods: {', '.join(CONVERSIONS)}")
@click.argument("method")
@click.argument("source", type=click.Path())
@click.argument("out", type=click.Path())
@json_option
def command(method: str, source: str, out: str, as_json_: bool) -> None:
    """Turn foreign weights into safetensors and JSON.

    METHOD names the form of SOURCE, a downloaded file or folder. OUT is the folder to write. Nothing is unpickled
    freely.
    """
    from fusionzoo.hub import convert

    config = convert.run(method, source, out)
    if as_json_:
        print_json(config)
        return
    size = sum(file.stat().st_size for file in Path(out).iterdir() if file.is_file())
    facts = [f"{config['num_params']:,} parameters"] if "num_params" in config else []
    facts += [f"{size / 1e6:.1f} MB", f"licence {config.get('licence') or 'not stated'}"]
    say(f"{out}: {', '.join(facts)}")
