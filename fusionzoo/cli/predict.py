"""`fusionzoo predict RGB X --model NAME -o OUT.png`: class map of one pair of images, drawn over the colour image."""

from __future__ import annotations

from typing import Any

import click

from fusionzoo.cli.output import json_option, print_json, say

__all__ = ["command", "predict"]


@click.command(name="predict")
@click.argument("rgb", type=click.Path())
@click.argument("x", type=click.Path())
@click.option("--model", "name", required=True, help="Bundled checkpoint, folder or Hub name.")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="The picture to write (PNG).")
@click.option("--labels", type=click.Path(dir_okay=False), help="Also write the class numbers, as an 8-bit PNG.")
@click.option(
    "--x-scale", type=float, help="Stored x times this is metres. Default: 0.001 for 16-bit files, 1 for float files."
)
@click.option(
    "--alpha", type=click.FloatRange(0, 1), default=0.55, show_default=True, help="Weight of the class colours."
)
@json_option
def command(
    rgb: str,
    x: str,
    name: str,
    output: str,
    labels: str | None,
    x_scale: float | None,
    alpha: float,
    as_json_: bool,
) -> None:
    """Segment one pair of images and draw the classes over it.

    RGB is an 8-bit image; X is aligned with it, pixel for pixel (depth: 16-bit millimetres, or metres as float TIFF or
    NPY; 0 is missing).
    """
    facts = predict(rgb, x, name, output, labels=labels, x_scale=x_scale, alpha=alpha)
    if as_json_:
        print_json(facts)
        return
    for row in facts["classes"]:
        say(f"{100 * row['share']:5.1f} %  {row['name']}")
    say(f"wrote {output}" + (f" and {labels}" if labels else ""))


def predict(
    rgb: str,
    x: str,
    name: str,
    output: str,
    *,
    labels: str | None = None,
    x_scale: float | None = None,
    alpha: float = 0.55,
) -> dict[str, Any]:
    """Writes the picture; returns {"model", "output", "size", "classes": [{"class", "name", "share"}]}.

    The images are resized to the model's input size (rgb bilinear, x nearest) and the logits back to the image's.

    Raises:
        InputError: a file that cannot be read or written, sizes that differ, NaN, all-zero or negative depth.
    """
    import io

    import numpy as np
    import torch
    from PIL import Image

    from fusionzoo.data import eval_transform
    from fusionzoo.data.pair import read_pair
    from fusionzoo.errors import InputError
    from fusionzoo.files import atomic_write
    from fusionzoo.hub import from_pretrained
    from fusionzoo.report.overlay import areas, overlay

    if x_scale is not None and not 0 < x_scale < float("inf"):
        raise InputError(f"--x-scale is {x_scale}; give a positive number, for example 0.001 for millimetres")
    for path in (output, labels):
        if path is not None and not path.lower().endswith(".png"):
            raise InputError(f"{path}: the picture is written as PNG; give a name that ends in .png")
    model = from_pretrained(name)
    image, aux = read_pair(rgb, x, model.preprocess.x_kind, x_scale)
    pair = {"rgb": image, "x": aux}
    if model.input_size is not None:
        pair = eval_transform(model.input_size)(pair)
    with torch.inference_mode():
        inputs = model.preprocess(pair["rgb"][None], pair["x"][None])
        logits = model(*inputs)
        logits = torch.nn.functional.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)
        classes = logits.argmax(1)[0].numpy().astype(np.uint8)
    picture = overlay(image.permute(1, 2, 0).numpy(), classes, model.class_names, alpha=alpha)
    for path, drawing in ((output, picture), (labels, Image.fromarray(classes))):
        if path is not None:
            buffer = io.BytesIO()
            drawing.save(buffer, format="PNG")
            atomic_write(path, buffer.getvalue())
    return {
        "model": name,
        "output": output,
        "size": list(classes.shape),
        "classes": [{"class": k, "name": n, "share": share} for k, n, share in areas(classes, model.class_names)],
    }
