"""Record + config -> the model card of a checkpoint, in Markdown with a YAML head.

The one skeleton of all cards. `fusionzoo.report.card` hands in what the dissection found as further `sections`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fusionzoo.hub.markdown import clean, code, escape, grid
from fusionzoo.hub.records import Record
from fusionzoo.tasks import CLASSIFICATION, spoken

__all__ = ["card"]

HUB_LICENCES = ("mit", "apache-2.0", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0", "other")
"""Licences that the Hub knows by these names; any other is "other" with a name."""


def card(
    record: Record,
    config: Mapping[str, Any],
    *,
    source: str = "path/to/this/folder",
    sections: Sequence[str] = (),
    credits: str = "",
) -> str:
    """The text of README.md: what it is, how to load it, preprocessing, results, how it was made, licence, citation.

    Args:
        record: what is known of the checkpoint. Whatever stands in it is escaped.
        config: the model's config.json.
        source: what `from_pretrained` is given in the line that loads it: a bundled name, a folder, `hf-hub:org/name`.
        sections: Markdown that stands between the results and how it was made, each ending with a newline.
        credits: Markdown that follows the record's own citation, ending with a newline.
    """
    parts = [
        _head(record),
        f"# {escape(record.name)}\n",
        _what(record),
        _load(source, record),
        "## Preprocessing\n",
        _preprocessing(config),
        "## Results\n",
        _results(record),
        *sections,
        "## How it was made\n",
        _made(record),
        "## Licence of the weights\n",
        f"{escape(record.licence)}." + (f" {escape(record.licence_note)}" if record.licence_note else "") + "\n",
    ]
    cited = "\n".join([f"{escape(record.citation)}\n"] * bool(record.citation) + [credits] * bool(credits))
    return "\n".join(parts + (["## Citation\n", cited] if cited else []))


def _head(record: Record) -> str:
    """The YAML between `---` lines. Values are written as JSON, which YAML reads; so nothing in them is syntax."""
    pipeline, kind, score, name = "image-segmentation", "semantic-segmentation", "mean_iou", "mean IoU"
    if record.task == CLASSIFICATION:
        pipeline, kind = "image-classification", "scene-classification"
        score, name = "balanced_accuracy", "balanced accuracy"
    licence = record.licence.lower()
    values: dict[str, Any] = {"license": licence if licence in HUB_LICENCES else "other"}
    if licence not in HUB_LICENCES:
        values["license_name"] = record.licence
    values |= {
        "library_name": "fusionzoo",
        "pipeline_tag": pipeline,
        "tags": [
            "fusionzoo",
            "rgb-d",
            "multimodal-fusion",
            kind,
            *["scene-classification"] * bool(record.scenes),
            record.architecture,
        ],
    }
    results = [
        {
            "task": {"type": pipeline},
            "dataset": {"name": m.data, "type": m.data, "split": m.split},
            "metrics": [{"type": score, "value": round(m.miou, 4), "name": f"{name} ({m.protocol})"}],
        }
        for m in record.metrics
    ]
    if results:
        values["model-index"] = [{"name": record.name, "results": results}]
    lines = "".join(f"{key}: {json.dumps(value, ensure_ascii=True)}\n" for key, value in values.items())
    return f"---\n{lines}---\n"


def _what(record: Record) -> str:
    inputs = " and ".join(escape(m) for m in record.modalities) or "two images"
    classes = [escape(c) for c in record.classes]
    named = f"{len(classes)} classes: {', '.join(classes)}" if classes else "classes not stated"
    what = "Classification of whole images" if record.task == CLASSIFICATION else "Semantic segmentation"
    what += " and scene classification" if record.scenes else ""
    types = [escape(s) for s in record.scenes]
    named += f"; {len(types)} scene types: {', '.join(types)}" if types else ""
    return (
        f"{what} from {inputs}, by {code(record.architecture)} of fusionzoo:"
        f" {record.num_params:,} parameters, {named}.\n"
    )


def _load(source: str, record: Record) -> str:
    shape = "(B, 1, 1): one class an image" if record.task == CLASSIFICATION else "(B, H, W)"
    types = "    types = model.scenes()(*model.preprocess(rgb, x)).argmax(1)  # (B, 1, 1): one scene type an image\n"
    return (
        "```python\nimport torch\nimport fusionzoo\n\n"
        f"model = fusionzoo.from_pretrained({json.dumps(clean(source))})\n"
        "# rgb: uint8 (B, 3, H, W); x: float32 (B, Cx, H, W), depth in metres, 0 = missing\n"
        "with torch.inference_mode():\n"
        f"    classes = model(*model.preprocess(rgb, x)).argmax(1)  # {shape}\n"
        f"{types if record.scenes else ''}"
        "```\n"
    )


def _preprocessing(config: Mapping[str, Any]) -> str:
    p = config["preprocess"]
    units = {"depth": "depth in metres", "inverse_depth": "depth in metres, fed as 1 / depth"}
    kind = "; ".join(units.get(k, f"{k}, 0 to 255") for k in p["x_kind"].split("+"))
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


def _results(record: Record) -> str:
    if not record.metrics:
        return "None stated.\n"
    points = lambda value: "-" if value is None else f"{100 * value:.1f}"  # noqa: E731
    rows = [
        (m.data, m.split, m.protocol, points(m.miou), points(m.pixel_accuracy), str(m.n or "-"), m.who)
        for m in record.metrics
    ]
    columns = ("data", "split", "protocol", "mIoU", "pixel accuracy", "images", "measured by")
    return grid(spoken(columns, record.task), rows, "<<<>>><")


def _made(record: Record) -> str:
    lines = [
        f"Trained on {escape(d.name)}, {escape(d.split)} split"
        + (f", {d.n} images" if d.n else "")
        + (f" ({escape(d.note)})" if d.note else "")
        + (f". Data terms: {escape(d.licence)}" if d.licence else "")
        + "."
        for d in record.data
    ]
    if (recipe := record.recipe) is not None:
        lines.append(f"```sh\n{clean(recipe.command).replace('```', '')}\n```")
        stated = {"seed": recipe.seed, "epochs": recipe.epochs, "init": recipe.init, "commit": recipe.commit}
        facts = [f"{key} {value}" for key, value in stated.items() if value not in (None, "")]
        lines += [f"{escape('; '.join(facts))}."] if facts else []
    if (conversion := record.conversion) is not None:
        worst = conversion.max_difference
        told = "" if worst is None else f"; largest difference from the original's output {worst:.2g}"
        lines.append(f"Converted by {code(conversion.method)}{told}.")
    if record.origin:
        lines.append(f"Origin: {escape(record.origin)}.")
    return "\n\n".join(lines or ["Not stated."]) + "\n"
