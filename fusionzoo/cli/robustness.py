"""`fusionzoo robustness NAME`: scores against missing modalities and corrupted images."""

from __future__ import annotations

from typing import Any

import click

from fusionzoo.cli.effects import conclude, options, subject

__all__ = ["command"]


class _Severities(click.ParamType):
    """`noise_x` or `noise_x=0.1,0.2` -> (name, severities or None)."""

    name = "NAME[=A,B,...]"

    def convert(
        self, value: str | tuple[str, list[float] | None], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, list[float] | None]:
        if isinstance(value, tuple):
            return value
        name, sign, text = value.partition("=")
        try:
            return name, [float(part) for part in text.split(",")] if sign else None
        except ValueError:
            self.fail(f"{value!r} is not NAME or NAME=A,B,... with numbers", param, ctx)


@click.command(name="robustness")
@click.argument("name")
@click.option(
    "--corruption", "corruptions", multiple=True, type=_Severities(),
    help="missing_rgb, missing_x, noise_rgb, low_light, holes_rgb, noise_x, holes_x, quantise_x, levels_x or shift_x,"
    " with severities if you like; may be repeated.  [default: all but levels_x]",
)  # fmt: skip
@click.option("--no-failures", is_flag=True, help="Leave out the failure protocols EMM, RMM and NM.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of noise and holes.")
@options
def command(
    name: str,
    corruptions: tuple[tuple[str, list[float] | None], ...],
    no_failures: bool,
    seed: int,
    **given: Any,
) -> None:
    """Measure a checkpoint with missing modalities and corrupted images.

    NAME is a bundled checkpoint (fusionzoo list), a checkpoint folder, or hf-hub:org/name. Corruptions act on the raw
    images; severities are in the units that the table names.
    """
    from fusionzoo.dissect.robustness import robustness
    from fusionzoo.report import robustness_text

    model, dataset, common = subject(name, given)
    found = robustness(
        model, dataset, corruptions=dict(corruptions) or None, failures=not no_failures, seed=seed, **common
    )  # fmt: skip
    conclude(found, robustness_text, given)
