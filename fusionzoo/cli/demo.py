"""`fusionzoo demo [CHECKPOINT...]`: a page to click, in the browser."""

from __future__ import annotations

import click

from fusionzoo.cli.output import note

__all__ = ["command"]


@click.command(name="demo")
@click.argument("checkpoints", nargs=-1)
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: other machines may come too.")
@click.option("--port", type=click.IntRange(1, 65535), default=7860, show_default=True)
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
def command(checkpoints: tuple[str, ...], host: str, port: int, no_browser: bool) -> None:
    """Serve a page to click: two pictures in, classes and modality map out.

    CHECKPOINT: what can be chosen on the page (bundled names, folders, Hub names); default: all bundled ones of pixels.
    Needs the extra demo: pip install 'fusionzoo[demo]'.
    """
    from fusionzoo.demo import build, launch_options
    from fusionzoo.errors import InputError
    from fusionzoo.hub import from_pretrained
    from fusionzoo.tasks import CLASSIFICATION

    for name in checkpoints:  # what is wrong is said now, not to the first visitor
        model = from_pretrained(name)
        if model.task == CLASSIFICATION:
            raise InputError(
                f"{name} says one class of a whole image; the page shows classes of pixels (see: fusionzoo predict)"
            )
        if len(names := model.modalities) > 2:
            raise InputError(f"{name} takes {', '.join(names)}; the page is for two (see: fusionzoo predict)")
    page = build(checkpoints)
    try:
        page.launch(server_name=host, server_port=port, inbrowser=not no_browser, prevent_thread_lock=True,
                    **launch_options())  # fmt: skip
    except OSError as error:
        raise InputError(f"cannot serve on {host}:{port}; choose another --port, or --host 127.0.0.1") from error
    note(f"http://{host}:{port} (Ctrl-C ends it)")
    page.block_thread()
