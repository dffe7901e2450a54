"""Dissection -> one HTML page that stands alone: no script, nothing external, inline SVG, light and dark, any width.

A content security policy in the page forbids every load, so nothing in a foreign checkpoint's names can cause one.
Behind every plot lies a table with its numbers. The template escapes all text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, Template

from fusionzoo.dissect.results.examples import Example, Exemplars
from fusionzoo.report import style
from fusionzoo.report.sections import HEALTH, PAGE
from fusionzoo.report.sections.base import Part
from fusionzoo.report.sections.dictionary import strips
from fusionzoo.report.sections.gallery import gallery
from fusionzoo.report.table import clean
from fusionzoo.report.verdict import as_dissection, facts, heading, in_front, said, verdict, verification
from fusionzoo.tasks import spoken

__all__ = ["PICTURES", "POLICY", "html", "render"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
PICTURES = f"{POLICY}; img-src data:"
"""The policy of a page that holds pictures in itself."""


@cache
def _template() -> Template:
    loader = PackageLoader("fusionzoo.report", ".")
    return Environment(autoescape=True, loader=loader, keep_trailing_newline=True).get_template("page.html.j2")


def render(
    title: str,
    kicker: str,
    head: str,
    *,
    columns: Sequence[Part] = (),
    wide: Sequence[Part] = (),
    policy: str = POLICY,
    **more: Any,
) -> str:
    """A whole page: boxes in columns, then over the whole width. `more`: verdict, good, sentences, first, more."""
    made = _template().render(
        title=title, kicker=kicker, head=head, columns=columns, wide=wide, policy=policy, sheet=style.sheet(), **more
    )
    return "".join(c if c.isprintable() or c == "\n" else " " for c in made)


def html(
    dissection: Any,
    verified: Any = None,
    findings: Iterable[Any] = (),
    *,
    ok: bool | None = None,
    name: str = "",
    examples: Sequence[Example] = (),
    exemplars: Sequence[Exemplars] = (),
) -> str:
    """The page as text. Arguments as of `terminal`; `examples`: images to show, see
    `fusionzoo.dissect.pictures.examples`; `exemplars`: of the elements of a dictionary, see
    `fusionzoo.dissect.pictures.exemplars`."""
    d = None if dissection is None else as_dissection(dissection)
    drawn, sentence = verdict(d, verified)
    first, more = in_front(said(findings))
    answer: dict[str, Any] = {"verdict": sentence, "good": drawn if ok is None else ok, "first": first, "more": more}
    files = verification(verified)
    if d is None:
        return render(clean(name), "fusionzoo check", clean(name), wide=[Part("File checks", table=files)], **answer)
    boxes = [spoken(part, d.data.task) for part in (section.box(d) for section in PAGE) if part is not None]
    checked = (files,) if files.rows else ()
    made = Part("How this was made", table=facts(d), more=checked)
    wide = [part for part in (gallery(examples), strips(exemplars), HEALTH.box(d), made) if part]
    kicker = clean(f"fusionzoo check on {d.data.name}, {d.data.split} split, {d.data.n} images")
    policy = PICTURES if examples or exemplars else POLICY
    return render(heading(d), kicker, clean(d.model.name), columns=boxes, wide=wide, policy=policy, **answer)
