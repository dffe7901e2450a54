"""A minimal model card. The full one, with the dissection's findings and plots, is `fusionzoo.report.card`."""

from __future__ import annotations

from typing import Any

from fusionzoo.hub.records import Record

__all__ = ["card_metadata", "minimal_card"]

# licences that the Hub knows by these names; others are "other" with a name
_HUB_LICENCES = {"mit", "apache-2.0", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0", "other"}


def card_metadata(record: Record) -> str:
    """The YAML head of a model card, by huggingface_hub's ModelCardData: licence, tags, results."""
    from huggingface_hub import EvalResult, ModelCardData

    results = []
    for m in record.metrics:
        shown = {"Mean IoU": m.miou, "Pixel accuracy": m.pixel_accuracy}
        for label, value in shown.items():
            if value is not None:
                results.append(
                    EvalResult(
                        task_type="image-segmentation",
                        dataset_type=m.data,
                        dataset_name=m.data,
                        dataset_split=m.split,
                        metric_type="mean_iou" if label == "Mean IoU" else "pixel_accuracy",
                        metric_value=round(value, 4),
                        metric_name=f"{label} ({m.protocol})",
                    )
                )
    known = record.licence.lower() in _HUB_LICENCES
    data = ModelCardData(
        license=record.licence.lower() if known else "other",
        license_name=None if known else record.licence,
        library_name="fusionzoo",
        pipeline_tag="image-segmentation",
        tags=["rgb-d", "multimodal-fusion", record.architecture],
        model_name=record.name if results else None,
        eval_results=results or None,
    )
    return str(data.to_yaml())


def minimal_card(record: Record, config: dict[str, Any]) -> str:
    """Model card in Markdown: what it is, how to load it, preprocessing, results with protocol, origin, licence."""
    p = config["preprocess"]
    lines = [
        "---",
        card_metadata(record).strip(),
        "---",
        "",
        f"# {record.name}",
        "",
        f"A two-input ({' and '.join(record.modalities)}) segmentation model of fusionzoo: `{record.architecture}`,"
        f" {record.num_params:,} parameters, {len(record.classes)} classes.",
        "",
        "```python",
        "import fusionzoo",
        "",
        'model = fusionzoo.from_pretrained("hf-hub:ORG/NAME")  # or this folder',
        "```",
        "",
        "## Preprocessing",
        "",
        f"RGB: value / 255, mean {p['rgb_mean']}, standard deviation {p['rgb_std']}."
        f" Second input ({p['x_kind']}): scale {p['x_scale']:g}, mean {p['x_mean']}, standard deviation {p['x_std']}."
        " `model.preprocess` does it.",
        "",
        "## Results",
        "",
    ]
    if record.metrics:
        lines += ["| data | split | protocol | mIoU | pixel accuracy | by |", "| --- | --- | --- | --- | --- | --- |"]
        for m in record.metrics:
            accuracy = "" if m.pixel_accuracy is None else f"{100 * m.pixel_accuracy:.1f}"
            lines.append(f"| {m.data} | {m.split} | {m.protocol} | {100 * m.miou:.1f} | {accuracy} | {m.who} |")
    else:
        lines.append("None stated.")
    lines += ["", "## How it was made", ""]
    lines.append(f"`{record.recipe.command}`" if record.recipe is not None else "Not stated.")
    lines += ["", "## Licence of the weights", "", " ".join([record.licence + ".", record.licence_note]).strip()]
    if record.citation:
        lines += ["", "## Citation", "", record.citation]
    return "\n".join(lines) + "\n"
