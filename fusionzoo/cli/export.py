"""`fusionzoo export NAME -o model.onnx`: a model as a file that runs without fusionzoo, checked against PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusionzoo.cli.output import Size, index_option, json_option, note, print_json, quiet_option, say

if TYPE_CHECKING:
    from fusionzoo.export import Export

__all__ = ["command"]


@click.command(name="export")
@click.argument("name")
@click.option("-o", "--output", required=True, type=click.Path(), help="model.onnx, or model.pt2 for torch.export.")
@click.option("--size", type=Size(), help="Fix the size of the input.  [default: any, where the model allows it]")
@click.option("--preprocess", type=click.Choice(["inside", "beside"]), default="inside", show_default=True,
              help="Normalisation inside the graph (raw rgb and x in), or beside it as JSON.")  # fmt: skip
@click.option("--probes", metavar="PATTERN", multiple=True, help="Values of these probes as outputs too; repeatable.")
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True,
              help="Of weights and arithmetic; inputs and outputs stay as they are.")  # fmt: skip
@click.option("--int8", is_flag=True, help="Weights in 8 bits, activations quantised on the way; ONNX on CPUs.")
@click.option("--opset", type=int, default=20, show_default=True, help="Of ONNX, 18 to 23.")
@click.option("--data", metavar="SPEC", help="Also score both on data: planted, folder:PATH, ... (list --data).")
@click.option("--split", help="Split of the data.  [default: test]")
@click.option("--limit", type=click.IntRange(min=1), help="Use at most so many images of --data, evenly spread.")
@click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True, help="Of --data.")
@click.option("--revision", help="Branch, tag or commit of a Hub repository.")
@index_option
@quiet_option
@json_option
def command(
    name: str,
    output: str,
    data: str | None,
    split: str | None,
    limit: int | None,
    quiet: bool,
    as_json_: bool,
    **options: Any,
) -> None:
    """Write a model as ONNX or torch.export, after a comparison with PyTorch.

    NAME is a bundled checkpoint, a folder, a Hub name, or an architecture, which gets random weights. What somebody
    needs who runs the file without fusionzoo stands in OUTPUT.json beside it and in the file's own metadata. Batch and
    size are free where the model allows it; --size fixes the size.
    """
    if data is None and (split is not None or limit is not None):
        raise click.UsageError("--split and --limit belong to --data")
    from fusionzoo.export import export

    done = export(name, output, data=data, split=split, limit=limit, note=None if quiet else note, **options)
    if done.source == "random weights" and not quiet:
        note(f"{name} is an architecture: its weights are random")
    if as_json_:
        print_json(done.to_dict())
    else:
        _say(done)


def _say(done: Export) -> None:
    found, where = done.comparison, Path(done.path).name
    opset = f", opset {done.opset}" if done.opset is not None else ""
    say(f"{done.path}: {done.name} ({done.source}), {done.size_bytes / 1e6:.1f} MB, {done.arithmetic}{opset}")
    say(f"takes   {done.shapes.says()}" + (f" ({done.fixed_because})" if done.fixed_because else ""))
    if done.input_size is not None and done.shapes.free:
        height, width = done.input_size
        say(f"made    for {height}x{width}: bring images to it first, rgb bilinear, x by its nearest pixel")
    for word, values in (("in", done.inputs), ("out", done.outputs)):
        for name, meaning in values.items():
            say(f"{word:7} {name}: {meaning}")
    runs = "onnxruntime" if "onnxruntime" in done.versions else "torch"
    shapes = ", ".join("x".join(map(str, shape)) for shape in found.shapes)
    say(
        f"checked {runs} {done.versions[runs]} against PyTorch {done.versions['torch']} at {shapes}: largest"
        f" difference {found.largest:.2g} (logits up to {found.logits:.3g}), same class in"
        f" {100 * found.same_class:.3f} % of the {found.of}"
    )
    if found.scenes is not None:
        say("        scene_logits: largest difference {:.2g} (up to {:.3g})".format(*found.scenes))
    for name, difference in found.probes.items():
        say(f"        probe.{name}: largest difference {difference:.2g}")
    if (lost := done.loss) is not None:
        size = "x".join(map(str, lost.size))
        score = f"{lost.score:<7}"
        say(
            f"{score} {lost.data}, {lost.split}, {lost.n} images at {size}: {100 * lost.pytorch:.2f} in PyTorch,"
            f" {100 * lost.exported:.2f} exported, loss {lost.points:.2f} points"
        )
    say(f"facts   {where}.json")
