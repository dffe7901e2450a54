"""A hand-made dissection, in format 1: 5 levels, planted concepts, a dead and a saturated probe, an absent class, a
negative CKA."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fusionzoo.dissect.results import Dissection

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


def typed(values: dict[str, Any]) -> Dissection:
    """The dictionary, of format 1, as it is read today."""
    return Dissection.from_dict(copy.deepcopy(values))


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


def with_everything() -> dict[str, Any]:
    """`build()` with contribution, shares, agreement, causal tracing and robustness."""
    d = build()
    names = d["data"]["class_names"]

    def whole(value: float) -> dict[str, Any]:
        return {"miou": value, "miou_error": 0.008, "iou": [value] * 13, "iou_error": [0.01] * 12 + [None]}

    def measured(value: float) -> dict[str, Any]:
        return {"value": value, "error": 0.004}

    d["contribution"] = {
        "absence": "mean",
        "values": {"both": whole(0.6123), "rgb": whole(0.4), "x": whole(0.301), "none": whole(0.04)},
        "shapley": {"rgb": whole(0.3357), "x": whole(0.2367)},
        "interaction": whole(-0.0487),
        "perceptual": {"rgb": whole(0.52), "x": whole(0.45)},
        "concepts": {},
    }
    d["segmentation"]["none"] = {"miou": 0.04, "pixel_accuracy": 0.3, "iou": [0.04] * 13, "drop": None}
    for i, level in enumerate(d["levels"]):
        shares = {"unique_rgb": 0.4 - 0.08 * i, "unique_x": 0.3 - 0.05 * i, "redundant": 0.2 + 0.1 * i, "rest": 0.1}
        shares["rest"] = 1 - sum(v for k, v in shares.items() if k != "rest")
        level["commonality"] = {"pix": {"n": 4800, **{k: measured(v) for k, v in shares.items()}, "adjusted": True}}
        level["agreement"] = {
            "consistent": names[:2] + names[8 : 8 + i],
            "rgb": names[2:5],
            "x": names[5:8],
            "undecided": names[12:],
            "unencoded": [],
            "gained": ["lamp"] if i > 2 else [],
            "lost": [],
            "difference": [],
            "chance": [],
        }
    d["effects"] = effects(names)
    return d


def effects(names: list[str]) -> dict[str, Any]:
    """A trace and a robustness result in their schema."""
    setting = {
        "model": "m", "data": "planted", "split": "test", "n": 64, "class_names": names, "size": [120, 160],
        "modalities": ["rgb", "depth"], "concepts": {}, "seed": 0, "block": 4, "seconds": 1.0, "versions": {},
    }  # fmt: skip
    clean = {"miou": 0.6123, "miou_error": 0.01, "iou": [0.6] * 13, "iou_error": [0.01] * 13}
    rows = []
    for edit in ("mean", "restore"):
        for level in range(1, 6):
            for stream in ("rgb", "x"):
                for reach, size in (("fusion", 0.01), ("onward", 0.05)):
                    effect = size * level * (1 if stream == "rgb" else -0.5)
                    rows.append(
                        {
                            "point": f"stage{level}.{stream}", "stream": stream, "level": level, "edit": edit,
                            "reach": reach, "part": "", "absent": stream if edit == "restore" else "",
                            "miou": 0.5, "effect": effect, "effect_error": 0.002, "share": effect,
                            "class_effect": [effect] * 13, "class_effect_error": [0.01] * 13,
                        }
                    )  # fmt: skip
    trace = {
        "setting": setting, "clean": clean, "absent": {}, "edits": ["mean", "restore"], "rows": rows, "ranking": [],
        "restored": [], "classes": [], "found": None, "format_version": 1,
    }  # fmt: skip
    curves = []
    for name, touched in (("missing_rgb", "rgb"), ("noise_x", "x"), ("shift_x", "x")):
        miou = [0.61, 0.5, 0.3]
        curves.append(
            {
                "corruption": name, "modality": touched, "unit": "pixels", "severities": [0.0, 0.25, 100.0],
                "miou": miou, "miou_error": [0.01] * 3, "drop": [0.0, 0.11, 0.31], "drop_error": [0.0, 0.01, 0.01],
                "iou": [[0.5] * 13] * 3, "iou_error": [[0.01] * 13] * 3, "mean": 0.4, "kept": 0.656,
            }
        )  # fmt: skip
    failing = {
        "name": "EMM", "conditions": {"none": 0.61, "rgb": 0.3, "x": 0.4, "both": 0.04}, "average": 0.247,
        "average_error": 0.01, "probability": [0.1, 0.2], "expected": [0.55, 0.5], "expected_error": [0.01, 0.01],
        "note": "",
    }  # fmt: skip
    robust = {"setting": setting, "clean": clean, "curves": curves, "failures": [failing], "format_version": 1}
    return {"trace": trace, "robustness": robust, "format_version": 1}


@pytest.fixture
def full() -> dict[str, Any]:
    """A fresh dictionary in the Dissection schema with everything that can be measured."""
    return with_everything()


@pytest.fixture
def findings() -> list[str]:
    return list(FINDINGS)


@pytest.fixture
def checks() -> list[dict[str, Any]]:
    return copy.deepcopy(CHECKS)
