"""A hand-made dissection: 5 levels, planted concepts, a dead and a saturated probe, an absent class, a negative CKA."""

from __future__ import annotations

import copy
from typing import Any

import pytest

KINDS = {
    "floor": "both",
    "ceiling": "both",
    "painted wall": "rgb",
    "poster": "rgb",
    "striped rug": "rgb",
    "box": "x",
    "bump": "x",
    "step": "x",
    "sphere": "both",
    "lamp": "joint",
    "mirror": "joint",
    "void pattern": "none",
    "column": "both",
}


def build() -> dict[str, Any]:
    names = list(KINDS)
    base = {"rgb": (0.55, 0.06), "x": (0.05, 0.5), "both": (0.5, 0.48), "joint": (0.12, 0.1), "none": (0.01, 0.012)}
    levels = []
    for i in range(1, 6):
        grow = 0.4 + 0.12 * i
        rgb = [round(base[KINDS[n]][0] * grow + 0.003 * k, 4) for k, n in enumerate(names)]
        x = [round(base[KINDS[n]][1] * grow + 0.002 * k, 4) for k, n in enumerate(names)]
        fused: list[float | None] = [round(max(a, b) * 1.1, 4) for a, b in zip(rgb, x, strict=True)]
        fused[11] = None
        apart = sum(abs(a - b) for a, b in zip(rgb, x, strict=True)) / len(names)
        levels.append(
            {
                "level": i,
                "points": {"rgb": f"stage{i}.rgb", "x": f"stage{i}.x", "fused": f"stage{i}.fusion.fused"},
                "cka": {
                    "gap": {"unbiased": [-0.03, 0.08, 0.31, 0.52, 0.74][i - 1], "biased": 0.4, "n": 64},
                    "pix": {"unbiased": [0.05, 0.12, 0.22, 0.35, 0.5][i - 1], "biased": 0.4, "n": 4800},
                },
                "semantic_variance": {
                    "rgb_x": {"value": round(apart, 4), "reducer": "mean_abs", "floor": 0.014},
                    "rgb_fused": {"value": 0.11 + 0.01 * i, "reducer": "mean_abs", "floor": 0.013},
                    "x_fused": {"value": 0.012, "reducer": "mean_abs", "floor": 0.015},
                },
                "concept_iou": {"rgb": rgb, "x": x, "fused": fused},
            }
        )
    iou: list[float | None] = [0.8 - 0.03 * k for k in range(13)]
    iou[11] = None
    last = levels[4]["concept_iou"]
    rows = [
        {
            "concept": n,
            "kind": KINDS[n],
            "rgb": last["rgb"][k],
            "x": last["x"][k],
            "fused": last["fused"][k],
            "level": 5,
            "found": True,
        }
        for k, n in enumerate(names)
    ]
    probe = {
        "name": "",
        "channels": 64,
        "dead": 0,
        "mean": 0.12,
        "std": 0.98,
        "effective_rank": 23.4,
        "saturated": None,
    }
    probes = [{**probe, "name": f"stage{i}.{s}"} for i in range(1, 6) for s in ("rgb", "x", "fusion.fused")]
    probes.append({**probe, "name": "stage5.fusion.gate_rgb", "dead": 3, "saturated": 0.02})
    probes.append({**probe, "name": "stage4.fusion.gate_x", "saturated": 0.97, "effective_rank": 1.1})
    return {
        "format_version": 1,
        "model": {
            "name": "hybrid_mobilenetv1-025_fpn.planted",
            "architecture": "hybrid_mobilenetv1-025_fpn",
            "num_params": 1234567,
            "modalities": ["rgb", "depth"],
            "source": "bundled",
        },
        "data": {
            "name": "planted",
            "split": "test",
            "n": 64,
            "class_names": names,
            "size": [120, 160],
            "concepts": dict(KINDS),
        },
        "protocol": {
            "absence": "mean",
            "recipe": "fast",
            "tau": 0.005,
            "versions": {"fusionzoo": "0.1.0", "torch": "2.9.0"},
            "seed": 0,
            "seconds": 31.25,
            "metrics": [],
            "passes": 3,
            "grid": None,
            "block": 1,
        },
        "segmentation": {
            "both": {"miou": 0.6123, "pixel_accuracy": 0.871, "iou": iou, "drop": None},
            "no_rgb": {
                "miou": 0.301,
                "pixel_accuracy": 0.5,
                "iou": [v and v / 2 for v in iou],
                "drop": {"miou": 0.3113, "miou_error": 0.008, "iou": [], "iou_error": []},
            },
            "no_x": {"miou": 0.4, "pixel_accuracy": 0.66, "iou": [v and v / 1.5 for v in iou], "drop": None},
        },
        "levels": levels,
        "probes": probes,
        "planted": {"rows": rows, "found": True},
    }


FINDINGS = [
    "Depth adds 21.2 points of mIoU (61.2 with both, 40.0 without depth); colour adds 31.1.",
    "At levels 4 and 5 the two streams encode much the same concepts (CKA 0.52 and 0.74).",
    "'painted wall', 'poster' and 'striped rug' come from colour alone; 'box', 'bump' and 'step' from depth alone.",
    "stage5.fusion.gate_rgb has 3 dead channels of 64; stage4.fusion.gate_x is saturated.",
]
CHECKS = [
    {"check": "sha256", "ok": True, "detail": "model.safetensors 12ab34cd"},
    {"check": "keys", "ok": True, "detail": "312 tensors, none missing, none unexpected"},
    {"check": "fingerprint", "ok": True, "detail": "largest difference 1.2e-07"},
]


@pytest.fixture
def example() -> dict[str, Any]:
    """A fresh dictionary in the Dissection schema."""
    return build()


@pytest.fixture
def findings() -> list[str]:
    return list(FINDINGS)


@pytest.fixture
def checks() -> list[dict[str, Any]]:
    return copy.deepcopy(CHECKS)
