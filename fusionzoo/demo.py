"""A page that people can click: two pictures in, classes and the modality map out (Gradio, extra `demo`).

`fusionzoo demo` serves it on this machine. The same file is a Hugging Face Space: copy it as `app.py` beside a
`requirements.txt` with one line, where the package comes from:

    fusionzoo[demo] @ git+https://HOST/OWNER/fusionzoo   # a repository with it; Git is there in a Space
    fusionzoo[demo]                                      # PyPI, if it has this version

Nothing is fetched from elsewhere while the page runs, and no pictures are kept beyond Gradio's own temporary files.
"""

from __future__ import annotations

import functools
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fusionzoo._explain import Explanation, explained
from fusionzoo._predict import Pair, Prediction, Predictor, Ready
from fusionzoo.data import Planted
from fusionzoo.errors import FusionZooError, FusionZooWarning, InputError
from fusionzoo.files import atomic_write
from fusionzoo.hub.records import bundled
from fusionzoo.report.pictures import encoded
from fusionzoo.tasks import CLASSIFICATION

if TYPE_CHECKING:
    import gradio

__all__ = ["answer", "build", "example", "launch_options"]

FIRST = "hybrid_mobilenetv1-025_fpn.planted"
MOST = 2000
"""Longest side of a picture that the page takes."""


def example(folder: str | Path) -> tuple[str, str]:
    """(rgb, depth) of a drawn scene as files: 8-bit PNG, and 16-bit PNG in millimetres.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     [Path(p).name for p in example(folder)]
    ['rgb.png', 'depth.png']
    """
    scene = Planted("test", n=1)[0]
    rgb, depth = Path(folder) / "rgb.png", Path(folder) / "depth.png"
    atomic_write(rgb, encoded(scene["rgb"].permute(1, 2, 0).numpy(), "PNG"))
    atomic_write(depth, encoded((1000 * scene["x"][0]).round().numpy().astype(np.uint16), "PNG"))
    return str(rgb), str(depth)


def answer(
    name: str, rgb: str, x: str | None, less_rgb: float = 0.0, less_x: float = 0.0
) -> tuple[Prediction, Explanation | None, list[str]]:
    """Segmentation and modality map of one pair of files.

    Args:
        name: a checkpoint.
        rgb, x: files; without x the checkpoint's substitute for it stands in.
        less_rgb, less_x: how far the modality is taken away for the segmentation, 0 (as it is) to 1 (all of it: what
            the checkpoint's own substitute leaves, as in `fusionzoo.predict(..., without="x")`); between them the
            normalised values fade linearly to the substitute's.

    Returns:
        (prediction, explanation, warnings). The modality map is that of the inputs as they are; it takes both.

    Raises:
        InputError: as of `fusionzoo.predict`; a share outside 0..1.
    """
    if not (0 <= less_rgb <= 1 and 0 <= less_x <= 1):
        raise InputError(f"shares to take away are {less_rgb} and {less_x}; give 0 to 1")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", FusionZooWarning)
        predictor, ready = read(name, rgb, x)
        found = predictor.predicted(ready, {"rgb": 1 - less_rgb, "x": 1 - less_x})
        explanation = explained(predictor, ready) if x is not None else None
    texts = [str(w.message) for w in said if issubclass(w.category, FusionZooWarning)]
    alone = [] if x is not None else ["without x the checkpoint's substitute stands in; the modality map takes both"]
    return found, explanation, [*texts, *alone]


def for_visitors(error: FusionZooError, files: Sequence[str]) -> str:
    """What is wrong, for somebody who sees the page alone: names of files without their place, no options of commands.

    >>> for_visitors(InputError("/tmp/a/x.png: x is 60x50, rgb 64x48; give --align"), ["/tmp/a/x.png"])
    'x.png: x is 60x50, rgb 64x48'
    """
    text = str(error)
    for file in files:
        text = text.replace(file, Path(file).name)
    said = text.split("; ")
    return "; ".join(part for i, part in enumerate(said) if not i or " --" not in f" {part}")


def read(name: str, rgb: str, x: str | None) -> tuple[Predictor, Ready]:
    """The checkpoint with a predictor of its own, and the pair as it takes it."""
    predictor = Predictor(_loaded(name))
    ready = predictor.only(Pair(Path(rgb).stem, rgb, x))
    if max(ready.rgb.shape[-2:]) > MOST:
        raise InputError(f"the picture is {ready.rgb.shape[-1]} x {ready.rgb.shape[-2]}; the demo takes up to {MOST}")
    return predictor, ready


@functools.lru_cache(maxsize=4)
def _loaded(name: str) -> Any:
    return Predictor(name).model


def build(checkpoints: Sequence[str] = ()) -> gradio.Blocks:
    """The page, to `launch()` or to mount.

    Args:
        checkpoints: what can be chosen; none: the bundled ones that say classes of pixels. Visitors can choose
            among these alone.

    Raises:
        InputError: Gradio is not installed.
    """
    try:
        import gradio as gr
    except ImportError as error:
        raise InputError("the demo needs Gradio: pip install 'fusionzoo[demo]'") from error
    names = list(checkpoints) or sorted(name for name, record in bundled().items() if record.task != CLASSIFICATION)
    folder = tempfile.mkdtemp(prefix="fusionzoo-demo-")
    scene = example(folder)

    def shown(name: str, rgb: str | None, x: str | None, less_rgb: float, less_x: float) -> tuple[Any, ...]:
        wrong = functools.partial(gr.Error, print_exception=False)  # a visitor's mistake is none of the server's
        if not rgb:
            raise wrong("Give a picture: rgb, and with it depth or what else the checkpoint takes.")
        if name not in names:
            raise wrong(f"{name!r} is not among the checkpoints of this page.")
        try:
            found, explanation, said = answer(name, rgb, x or None, less_rgb / 100, less_x / 100)
        except FusionZooError as error:
            raise wrong(for_visitors(error, [file for file in (rgb, x) if file])) from error
        rows = [[label, round(100 * share, 1)] for _, label, share in found.shares()]
        maps = explanation.picture() if explanation is not None else None
        return found.picture(), rows, maps, "  \n".join(f"Note: {text}" for text in said)

    buttons: Any = ["download", "fullscreen"]
    with gr.Blocks(title="fusionzoo", analytics_enabled=False) as page:
        gr.Markdown(
            "# fusionzoo\nWhich modality drives which pixel? Give a picture and its depth, or take the example."
        )
        with gr.Row():
            with gr.Column():
                name = gr.Dropdown(names, value=FIRST if FIRST in names else names[0], label="Checkpoint")
                rgb = gr.Image(type="filepath", image_mode=None, label="rgb", height=220, sources=["upload"])
                x = gr.File(type="filepath", label="x: depth (16-bit PNG in millimetres), thermal, ... as a file")
                less_rgb = gr.Slider(0, 100, 0, step=5, label="take rgb away, percent", elem_id="less_rgb")
                less_x = gr.Slider(0, 100, 0, step=5, label="take x away, percent", elem_id="less_x")
                with gr.Row():
                    go = gr.Button("Segment", variant="primary", elem_id="segment")
                    try_it = gr.Button("Example scene", elem_id="example")
            with gr.Column():
                classes = gr.Image(label="classes", format="png", elem_id="classes", buttons=buttons)
                shares = gr.Dataframe(headers=["class", "percent"], label="shares", elem_id="shares")
        gr.Markdown("Inputs, predictions without each modality, and the modality map:")
        maps = gr.Image(show_label=False, format="png", elem_id="maps", buttons=buttons)
        notes = gr.Markdown(elem_id="notes")
        given, out = [name, rgb, x, less_rgb, less_x], [classes, shares, maps, notes]
        go.click(shown, given, out, api_name="segment")
        for slider in (less_rgb, less_x):
            slider.release(shown, given, out, api_visibility="private")
        try_it.click(lambda: scene, None, [rgb, x], api_visibility="private").then(
            shown, given, out, api_visibility="private"
        )
    return page


def launch_options() -> dict[str, Any]:
    """What `launch` is given: fonts of the visitor's machine, so that nothing is fetched; no link to an API."""
    import gradio as gr

    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    return {"theme": theme, "footer_links": [], "max_file_size": "50mb", "quiet": True}


if __name__ == "__main__":
    build().launch(**launch_options())
