"""Record + config + dissection -> the model card of a Hub repository, in Markdown with a YAML head."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fusionzoo.report import markdown
from fusionzoo.report.sections import CARD, contribution
from fusionzoo.report.table import clean, points
from fusionzoo.report.verdict import as_dissection, heading, said

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

# licences that the Hub knows by these names; any other is "other" with a name
_HUB_LICENCES = {"mit", "apache-2.0", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0", "other"}


def card(
    record: Any,
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
    r: dict[str, Any] = dict(record) if isinstance(record, Mapping) else record.to_dict()
    parts = [
        _head(r),
        f"# {markdown.escape(r['name'])}\n",
        _what(r),
        _load(r, repo),
        "## Preprocessing\n",
        _preprocessing(config),
        "## Results\n",
        _results(r),
        *_dissected(dissection, findings, plots or {}),
        "## How it was made\n",
        _made(r),
        "## Licence of the weights\n",
        _licence(r),
        "## Citation\n",
        _citation(r),
        f"{PATENT}\n",
    ]
    return "\n".join(parts)


def _head(r: Mapping[str, Any]) -> str:
    """The YAML between `---` lines. Values are written as JSON, which YAML reads; so nothing in them is syntax."""
    licence = r.get("licence", "other").lower()
    known = licence in _HUB_LICENCES
    values: dict[str, Any] = {"license": licence if known else "other"}
    if not known:
        values["license_name"] = r["licence"]
    values |= {
        "library_name": "fusionzoo",
        "pipeline_tag": "image-segmentation",
        "tags": ["fusionzoo", "rgb-d", "multimodal-fusion", "semantic-segmentation", r["architecture"]],
    }
    results = [
        {
            "task": {"type": "image-segmentation"},
            "dataset": {"name": m["data"], "type": m["data"], "split": m["split"]},
            "metrics": [{"type": "mean_iou", "value": round(m["miou"], 4), "name": f"mean IoU ({m['protocol']})"}],
        }
        for m in r.get("metrics", [])
    ]
    if results:
        values["model-index"] = [{"name": r["name"], "results": results}]
    lines = "".join(f"{key}: {json.dumps(value, ensure_ascii=True)}\n" for key, value in values.items())
    return f"---\n{lines}---\n"


def _what(r: Mapping[str, Any]) -> str:
    inputs = " and ".join(markdown.escape(m) for m in r.get("modalities", [])) or "two images"
    classes = [markdown.escape(c) for c in r.get("classes", [])]
    named = f"{len(classes)} classes: {', '.join(classes)}" if classes else "classes not stated"
    return (
        f"Semantic segmentation from {inputs}, by `{clean(r['architecture']).replace('`', '')}` of fusionzoo:"
        f" {r['num_params']:,} parameters, {named}.\n"
    )


def _load(r: Mapping[str, Any], repo: str) -> str:
    source = json.dumps(f"hf-hub:{repo}" if repo else clean(r["name"]))
    return (
        "```python\nimport torch\nimport fusionzoo\n\n"
        f"model = fusionzoo.from_pretrained({source})\n"
        "# rgb: uint8 (B, 3, H, W); x: float32 (B, Cx, H, W), depth in metres, 0 = missing\n"
        "with torch.inference_mode():\n"
        "    classes = model(*model.preprocess(rgb, x)).argmax(1)  # (B, H, W)\n"
        "```\n"
    )


def _preprocessing(config: Mapping[str, Any]) -> str:
    p = config["preprocess"]
    units = {"depth": "depth in metres", "inverse_depth": "depth in metres, fed as 1 / depth"}
    kind = units.get(p["x_kind"], f"{p['x_kind']}, 0 to 255")
    missing = " Missing depth (0) becomes 0 after normalisation." if "depth" in p["x_kind"] else ""
    size = config.get("input_size")
    trained = f" Input size: {size[1]} x {size[0]} (width x height), any other works.\n" if size else "\n"

    def numbers(values: Iterable[float]) -> str:
        return ", ".join(f"{v:g}" for v in values)

    return (
        f"RGB: value / 255, mean {numbers(p['rgb_mean'])}, standard deviation {numbers(p['rgb_std'])}. Second input:"
        f" {kind}, times {p['x_scale']:g}, mean {numbers(p['x_mean'])}, standard deviation {numbers(p['x_std'])}."
        f"{missing} `model.preprocess` does all that.{trained}"
    )


def _results(r: Mapping[str, Any]) -> str:
    metrics = r.get("metrics", [])
    if not metrics:
        return "None stated.\n"
    rows = [
        (
            m["data"],
            m["split"],
            m["protocol"],
            points(m["miou"]),
            points(m.get("pixel_accuracy")),
            str(m.get("n", "-")),
            m.get("who", "-"),
        )
        for m in metrics
    ]
    return markdown.grid(
        ("data", "split", "protocol", "mIoU", "pixel accuracy", "images", "measured by"), rows, "<<<>>><"
    )


def _dissected(dissection: Any, findings: Iterable[Any], plots: Mapping[str, str]) -> list[str]:
    """What each modality is used for: findings, plots, then the tables (levels, concepts, planted truth)."""
    if dissection is None:
        return []
    d = as_dissection(dissection)
    sentences = "".join(f"- {markdown.escape(text)}\n" for _, text in said(findings))
    where = heading(d).removeprefix(f"{clean(d.model.name)} on ")
    parts = [f"## What it uses each modality for\n\nMeasured on {markdown.escape(where)}.\n"]
    line = contribution.sentence(d)
    parts += [f"{markdown.escape(line)}\n"] if line else []
    parts += [sentences] if sentences else []
    parts += ["".join(f"![{markdown.escape(title)}]({name})\n" for name, title in plots.items())] if plots else []
    return parts + [markdown.table(t) for t in (section.table(d) for section in CARD) if t is not None]


def _made(r: Mapping[str, Any]) -> str:
    lines = [
        f"Trained on {markdown.escape(d['name'])}, {markdown.escape(d.get('split', 'train'))} split"
        + (f", {d['n']} images" if d.get("n") else "")
        + (f". Data terms: {markdown.escape(d['licence'])}" if d.get("licence") else "")
        + "."
        for d in r.get("data", [])
    ]
    recipe = r.get("recipe")
    if recipe:
        facts = [
            f"{key} {recipe[key]}" for key in ("seed", "epochs", "init", "commit") if recipe.get(key) not in (None, "")
        ]
        lines.append(f"```sh\n{clean(recipe['command']).replace('```', '')}\n```")
        lines += [markdown.escape("; ".join(facts)) + "."] if facts else []
    conversion = r.get("conversion")
    if conversion:
        worst = conversion.get("max_difference")
        lines.append(
            f"Converted by `{clean(conversion['method']).replace('`', '')}`"
            + (f"; largest difference from the original's output {worst:.2g}" if worst is not None else "")
            + "."
        )
    if r.get("origin"):
        lines.append(f"Origin: {markdown.escape(r['origin'])}.")
    return "\n\n".join(lines or ["Not stated."]) + "\n"


def _licence(r: Mapping[str, Any]) -> str:
    note = markdown.escape(r.get("licence_note", ""))
    return f"{markdown.escape(r.get('licence', 'other'))}." + (f" {note}" if note else "") + "\n"


def _citation(r: Mapping[str, Any]) -> str:
    own = f"{markdown.escape(r['citation'])}\n\n" if r.get("citation") else ""
    return f"{own}The dissection follows the questions of:\n\n```bibtex\n{PAPER}```\n"
