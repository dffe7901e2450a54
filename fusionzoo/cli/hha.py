"""`fusionzoo hha DEPTH -o OUT.png`: depth as the three-channel HHA image that many published models take as x."""

from __future__ import annotations

import warnings
from typing import Any

import click

from fusionzoo.cli.output import json_option, print_json, say

__all__ = ["command", "convert"]

FAR = 10.0
"""Metres; a median beyond it is remarked on. Depth cameras for rooms measure to about 10 m."""


@click.command(name="hha")
@click.argument("depth", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="The picture to write (PNG).")
@click.option("--intrinsics", type=float, nargs=4, metavar="FX FY CX CY", help="Of the camera, in pixels of DEPTH.")
@click.option("--camera", help="A known camera instead, resized to DEPTH: nyuv2.")
@click.option(
    "--gravity", type=float, nargs=3, metavar="X Y Z", help="Its direction in camera axes (x right, y down, z forward)."
    " Default: estimated from the surfaces in the image.",
)  # fmt: skip
@click.option(
    "--x-scale", type=float, help="Stored value times this is metres. Default: 0.001 for 16-bit files, 1 for float."
)
@click.option("--x-encoding", help="How 16-bit depth is packed: plain, sunrgbd (rotated bits) or swapped (bytes).")
@click.option("--radius", type=click.IntRange(1, 64), default=3, show_default=True, help="Of the windows of normals.")
@json_option
def command(depth: str, output: str, as_json_: bool, **camera: Any) -> None:
    """Turn a depth image into HHA: horizontal disparity, height above ground, angle with gravity.

    DEPTH is as for `fusionzoo predict`: 16-bit millimetres, or metres as float TIFF or NPY; 0, 65535, NaN and inf are
    missing. The picture has the three channels in this order as red, green and blue.
    """
    facts = convert(depth, output, **camera)
    if as_json_:
        print_json(facts)
        return
    axis = " ".join(f"{v:.3f}" for v in facts["gravity"])
    say(f"wrote {output}: {facts['size'][1]} x {facts['size'][0]} pixels, {facts['gravity_from']} gravity {axis}")


def convert(
    depth: str,
    output: str,
    *,
    intrinsics: tuple[float, float, float, float] | None = None,
    camera: str | None = None,
    gravity: tuple[float, float, float] | None = None,
    x_scale: float | None = None,
    x_encoding: str | None = None,
    radius: int = 3,
) -> dict[str, Any]:
    """Writes the picture; returns {"output", "size", "gravity", "gravity_from": "given" | "estimated", "missing"}.

    Raises:
        InputError: no camera, a direction of length zero, or a file that cannot be read or written.
        UnknownNameError: no such camera.

    Warns:
        FusionZooWarning: half of the depths are beyond `FAR`.
    """
    import io
    import math

    from PIL import Image

    from fusionzoo.data.hha import NYU_CAMERA, Intrinsics, hha, surface_normals
    from fusionzoo.data.hha import gravity as estimate
    from fusionzoo.data.pair import read_depth
    from fusionzoo.errors import FusionZooWarning, InputError, check_known
    from fusionzoo.files import atomic_write

    cameras = {"nyuv2": NYU_CAMERA}
    if not output.lower().endswith(".png"):
        raise InputError(f"{output}: the picture is written as PNG; give a name that ends in .png")
    if (intrinsics is None) == (camera is None):
        raise InputError("give the camera once: --intrinsics FX FY CX CY, or --camera nyuv2")
    if camera is not None:
        check_known("camera", camera, cameras, "fusionzoo hha --help, or --intrinsics")
    if gravity is not None and not 0 < math.hypot(*gravity) < math.inf:
        raise InputError(f"--gravity is {gravity}; give a direction, for example 0 1 0 for a level camera")
    if x_scale is not None and not 0 < x_scale < math.inf:
        raise InputError(f"--x-scale is {x_scale}; give a positive number, for example 0.001 for millimetres")
    metres = read_depth(depth, x_scale, encoding=x_encoding)
    size = (metres.shape[-2], metres.shape[-1])
    if intrinsics is not None:
        fx, fy, cx, cy = intrinsics
        if not (0 < fx < math.inf and 0 < fy < math.inf and math.isfinite(cx) and math.isfinite(cy)):
            raise InputError(f"--intrinsics are {intrinsics}; give focal lengths above 0 and the centre, in pixels")
        lens = Intrinsics(fx, fy, cx, cy, size)
    else:
        lens = cameras[str(camera)].at(size)
    axis = gravity or tuple(estimate(surface_normals(metres[0], lens, 10)).tolist())
    picture = hha(metres, lens, axis, radius)
    middle = float(metres[metres > 0].median())
    if middle > FAR:
        warnings.warn(
            f"{depth}: half of its depths are beyond {middle:.3g} m, far for the rooms that HHA is made for; where that"
            " is no hall, --x-scale gives metres for one stored step (TUM RGB-D 0.0002, KITTI 0.00390625)",
            FusionZooWarning,
            stacklevel=2,
        )
    buffer = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(buffer, format="PNG")  # (H, W, 3)
    atomic_write(output, buffer.getvalue())
    length = math.hypot(*axis)
    return {
        "output": output,
        "size": list(size),
        "gravity": [v / length for v in axis],
        "gravity_from": "given" if gravity else "estimated",
        "missing": float((metres == 0).float().mean()),
    }
