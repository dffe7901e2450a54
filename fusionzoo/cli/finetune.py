"""`fusionzoo finetune MODEL --data SPEC --out DIR`: flags -> `fusionzoo.train.Settings` -> a checkpoint folder.

Each field of Settings has one flag with the same default; a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from fusionzoo.cli.output import json_option, note, print_json, say

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


class _Pair(click.ParamType):
    """`key=value`; the value is a JSON value or plain text."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        key, sign, text = value.partition("=")
        if not sign or not key:
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        try:
            return key, json.loads(text)
        except ValueError:
            return key, text


WHOLE, REAL, PAIR = _Numbers(int), _Numbers(float), _Pair()
_AUXILIARY = {"consistency": 0.1, "decorrelation": 0.1}


@click.command(name="finetune")
@click.argument("model")
@click.option("--data", required=True, metavar="SPEC", help="planted, nyuv2:PATH or folder:PATH.")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="New folder for the checkpoint.")
@click.option("--resume", is_flag=True, help="Go on with a run that was cut off, in the same folder with equal flags.")
@click.option("--device", help="cpu, cuda, ...; default: cuda where there is one.")
@click.option("--num-classes", type=int, help="Of the data's label map (nyuv2: 40, 13 or 4).")
@click.option(
    "--init", default="", metavar="DIR", help="Converted ImageNet encoder for both streams (fusionzoo convert)."
)
@click.option("--train-split", default="train", show_default=True)
@click.option("--val-split", default="val", show_default=True, help="'' trains without validation.")
@click.option("--val-every", type=int, default=1, show_default=True, help="Epochs between validations.")
@click.option("--epochs", type=int, default=30, show_default=True)
@click.option("--batch-size", type=int, default=16, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--lr", type=float, default=1e-3, show_default=True, help="Peak learning rate of new parts (AdamW).")
@click.option("--encoder-lr", type=float, default=3e-4, show_default=True, help="The same for encoders from --init.")
@click.option("--weight-decay", type=float, default=0.01, show_default=True)
@click.option("--size", type=WHOLE, default=(128, 160), show_default="128x160", help="Training crop, height x width.")
@click.option("--base", type=WHOLE, default=(120, 160), show_default="120x160", help="Whole image at zoom 1.")
@click.option("--scale", type=REAL, default=(1.0, 1.6), show_default="1.0x1.6", help="Range of the random zoom.")
@click.option("--test-size", type=WHOLE, help="Whole image at validation; default: --base.")
@click.option("--jitter", type=float, default=0.3, show_default=True, help="Strength of the colour jitter.")
@click.option("--ema", type=float, default=0.995, show_default=True, help="Decay of the averaged weights; 0: none.")
@click.option("--balance", type=float, default=0.0, show_default=True, help="Power of the class weights.")
@click.option("--auxiliary", type=PAIR, multiple=True, help="Factor of an auxiliary loss. [default: 0.1 each]")
@click.option("--drop-modality", type=float, default=0.0, show_default=True, help="Share of images that lose an input.")
@click.option("--decoder-args", type=PAIR, multiple=True, help="Option of a new model's decoder.")
@click.option("--fusion-args", type=PAIR, multiple=True, help="Option of a new model's fusion blocks.")
@click.option("--amp/--no-amp", default=False, show_default=True, help="bfloat16 autocast.")
@click.option("--half/--no-half", default=False, show_default=True, help="Save matrices in float16.")
@click.option("--limit", type=int, help="Use at most so many images of each split.")
@json_option
def command(model: str, data: str, out: str, resume: bool, device: str | None, as_json_: bool, **flags: Any) -> None:
    """Train a model, or continue from a checkpoint, on your data.

    MODEL is an architecture (new weights) or a checkpoint (bundled name, folder, Hub name). The best checkpoint by
    validation mIoU is kept; after a kill, --resume goes on from the last whole epoch.
    """
    from fusionzoo.train import Settings, finetune

    flags["auxiliary"] = dict(flags["auxiliary"]) or dict(_AUXILIARY)
    for name in ("decoder_args", "fusion_args"):
        flags[name] = dict(flags[name])
    settings = Settings(model=model, data=data, **flags)
    last = finetune(
        settings, out, resume=resume, device=device, progress=lambda line: note(_line(line, settings.epochs))
    )
    if as_json_:
        print_json({"out": out, **last})
        return
    best = last.get("best_miou")
    say(f"wrote {out}" + ("" if best is None else f"; best validation mIoU {100 * best:.1f}"))


def _line(line: dict[str, Any], epochs: int) -> str:
    """One epoch for a person."""
    parts = [f"epoch {line['epoch']}/{epochs}", f"loss {line['loss']:.3f}"]
    if line.get("miou") is not None:
        parts.append(f"mIoU {100 * line['miou']:.1f} (best {100 * line['best_miou']:.1f})")
    return "  ".join([*parts, f"{line['seconds']:.0f} s"])
