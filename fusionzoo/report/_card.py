"""Record + config + dissection -> the model card of a Hub repository: the hub's card with what was found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fusionzoo.hub.card import card as skeleton
from fusionzoo.hub.markdown import escape, grid
from fusionzoo.hub.records import Record
from fusionzoo.report.sections import CARD, contribution
from fusionzoo.report.table import Table, clean
from fusionzoo.report.verdict import as_dissection, heading, said
from fusionzoo.tasks import spoken

__all__ = ["PAPER", "PATENT", "card"]

PAPER = """@article{chen2023interpretation,
  title   = {Interpretation on Multi-modal Visual Fusion},
  author  = {Chen, Hao and Zhou, Haoran and Deng, Yongjian and Zhang, Yunshu and Lin, Zheng},
  journal = {arXiv preprint arXiv:2308.10019},
  year    = {2023},
  note    = {v2 (2025): Dissecting RGB-D Learning for Improved Multi-modal Fusion}
}
"""
PATENT = (
    "A method for quantifying semantic variance between neural network representations is claimed by US patent"
    " 12,283,082 B1 (Southeast University). This is a notice, not legal advice."
)


def card(
    record: Record | Mapping[str, Any],
    config: Mapping[str, Any],
    dissection: Any = None,
    findings: Iterable[Any] = (),
    *,
    repo: str = "",
    plots: Mapping[str, str] | None = None,
) -> str:
    """The text of README.md.

    Args:
        record: a Record or its dictionary.
        config: the model's config.json.
        dissection: a Dissection or its dictionary, None when there is none.
        findings: its sentences, or Findings.
        repo: `org/name` on the Hub, for the line that loads it.
        plots: file name -> title of pictures beside the card that show the dissection (see `fusionzoo.report.plots`).
    """
    r = record if isinstance(record, Record) else Record.from_dict(record)
    return skeleton(
        r,
        config,
        source=f"hf-hub:{repo}" if repo else r.name,
        sections=_dissected(dissection, findings, plots or {}),
        credits=f"The dissection follows the questions of:\n\n```bibtex\n{PAPER}```\n\n{PATENT}\n",
    )


def _dissected(dissection: Any, findings: Iterable[Any], plots: Mapping[str, str]) -> list[str]:
    """What each modality is used for: findings, plots, then the tables."""
    if dissection is None:
        return []
    d = as_dissection(dissection)
    sentences = "".join(
        f"- {escape(row.text)}{f' [{escape(row.basis)}]' if row.basis else ''}\n" for row in said(findings)
    )
    where = heading(d).removeprefix(f"{clean(d.model.name)} on ")
    parts = [f"## What it uses each modality for\n\nMeasured on {escape(where)}.\n"]
    line = spoken(contribution.sentence(d), d.data.task)
    parts += [f"{escape(line)}\n"] if line else []
    parts += [sentences] if sentences else []
    parts += ["".join(f"![{escape(title)}]({name})\n" for name, title in plots.items())] if plots else []
    tables = (spoken(section.table(d), d.data.task) for section in CARD)
    return parts + [_table(t) for t in tables if t is not None]


def _table(values: Table) -> str:
    """A table with its note below."""
    note = f"\n{escape(values.note)}\n" if values.note else ""
    return grid(values.columns, values.rows, values.align) + note
