"""Concept probing: the fast recipe against the official Net2Vec loop, on planted distributed codes.

    python benchmarks/speed/concepts.py [--threads 1] [--images 200] [--seeds 0 1 2] [--out FILE]

20 concepts, 256 channels, 200 images, maps 28x28, masks 112x112, 70 % of the images for training; every concept is
coded by 38 of the channels, which overlap. Activations of the network are given in memory to all methods alike.

* `official`: the 2018 code's loop as it was run: per concept, batches of 16, autograd, SGD. Thresholds and binary maps
  are given to it and not counted; set IoU on the images that contain the concept.
* `net2vec_2018`: our reference of the same numbers, gradient in closed form, thresholds counted.
* `fast`: quantile sketch, statistics, one ridge solve, calibrated threshold; everything counted.
* `fast_raw`: the same on raw channels, without thresholds.
* `unit`: the best single binary channel, chosen on the training images, at map resolution.

CPU time is reported beside wall time: other work on the machine adds to the second only. Both are of one process, with
the methods in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusionzoo.metrics import ConceptCurve, ConceptStatistics, Quantiles, area_masks, net2vec_2018
from fusionzoo.metrics.rows import spearman

K, C, MAP, MASK, FAN = 20, 256, 28, 112, 38


def planted(images: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Maps (N, C, 28, 28), masks (N, K, 112, 112) of ellipses, train (N,)."""
    g = torch.Generator().manual_seed(seed)
    line = torch.linspace(0, 1, MASK)
    y, x = torch.meshgrid(line, line, indexing="ij")
    cy, cx = torch.rand(2, images, K, 1, 1, generator=g)
    ry, rx = 0.06 + 0.19 * torch.rand(2, images, K, 1, 1, generator=g)
    present = torch.rand(images, K, 1, 1, generator=g) < 0.4
    masks = (((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1) & present
    code = torch.zeros(C, K)
    for k in range(K):
        code[torch.randperm(C, generator=g)[:FAN], k] = 0.5 + torch.rand(FAN, generator=g)
    small = functional.avg_pool2d(masks.float(), MASK // MAP)
    maps = torch.einsum("nkhw,ck->nchw", small, code) + 0.7 * torch.randn(images, C, MAP, MAP, generator=g)
    return maps.relu().contiguous(), masks, torch.rand(images, generator=g) < 0.7


def exact_thresholds(maps: Tensor) -> Tensor:
    rows = maps.transpose(0, 1).flatten(1)
    return rows.kthvalue(rows.shape[1] - round(0.005 * rows.shape[1]), dim=1).values


def official(binary: Tensor, masks: Tensor, train: Tensor, seed: int = 0) -> Tensor:
    """(K,) validation set IoU by the 2018 loop: one concept at a time, autograd, no logarithm in the loss."""
    torch.manual_seed(seed)
    up = nn.Upsample(size=(MASK, MASK), mode="bilinear", align_corners=True)
    result = []
    for k in range(K):
        holds = masks[:, k].flatten(1).any(1)
        chosen = (holds & train).nonzero().flatten()
        alpha = 1 - float(masks[chosen, k].float().mean())
        layer = nn.Conv2d(C, 1, 1, bias=False)
        nn.init.uniform_(layer.weight, -1 / C**0.5, 1 / C**0.5)
        sgd = torch.optim.SGD(layer.parameters(), lr=1e-4, momentum=0.9)
        for _ in range(30):
            for batch in chosen.split(16):
                p = torch.sigmoid(up(layer(binary[batch])))[:, 0]
                label = masks[batch, k].float()
                gain = alpha * label * p + (1 - alpha) * (1 - label) * (1 - p)
                sgd.zero_grad()
                (-gain.sum((1, 2)).mean()).backward()
                sgd.step()
        both = either = 0
        with torch.no_grad():
            for batch in (holds & ~train).nonzero().flatten().split(16):
                marked, label = torch.sigmoid(up(layer(binary[batch])))[:, 0] > 0.5, masks[batch, k]
                both += int((marked & label).sum())
                either += int((marked | label).sum())
        result.append(both / either)
    return torch.tensor(result, dtype=torch.float64)


def fast(maps: Tensor, masks: Tensor, train: Tensor, raw: bool) -> Tensor:
    """(K,) validation set IoU by the fast recipe, streaming batches of 16."""
    thresholds = None
    if not raw:
        sketch = Quantiles(C, expected=len(maps) * MAP * MAP)
        for part in maps.split(16):
            sketch.update(part)
        thresholds = sketch.compute()
    sums = ConceptStatistics(C, K, thresholds)
    for part, mask, mine in zip(maps.split(16), masks.split(16), train.split(16), strict=True):
        sums.update(part[mine], area_masks(mask[mine], (MAP, MAP)))
    weights, curve = sums.solve(), ConceptCurve(K)
    for part, mask, mine in zip(maps.split(16), masks.split(16), train.split(16), strict=True):
        curve.update(weights.score(part), mask, train=mine)
    return curve.compute().iou


def best_unit(binary: Tensor, masks: Tensor, train: Tensor) -> Tensor:
    """(K,) validation set IoU of the channel that is best on the training images."""
    iou = []
    for half in (train, ~train):
        sums = ConceptStatistics(C, K)
        sums.update(binary[half].bool(), functional.avg_pool2d(masks[half].float(), MASK // MAP))
        iou.append(sums.unit_iou())
    return iou[1].gather(1, iou[0].argmax(1)[:, None])[:, 0]


def timed(run: Callable[[], Tensor]) -> tuple[Tensor, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "concepts.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    load = [round(os.getloadavg()[0], 1)]
    rows: dict[str, dict[str, list[float]]] = {}
    agreement = []
    for seed in args.seeds:
        maps, masks, train = planted(args.images, seed)
        binary = (maps > exact_thresholds(maps)[:, None, None]).float()
        fast(maps[:16], masks[:16], torch.arange(16) < 11, raw=False)  # warm up
        runs: dict[str, Callable[[], Tensor]] = {
            "unit": lambda b=binary, m=masks, t=train: best_unit(b, m, t),  # type: ignore[misc]
            "fast": lambda a=maps, m=masks, t=train: fast(a, m, t, raw=False),  # type: ignore[misc]
            "fast_raw": lambda a=maps, m=masks, t=train: fast(a, m, t, raw=True),  # type: ignore[misc]
            "net2vec_2018": lambda a=maps, m=masks, t=train: net2vec_2018(a, m, t).iou,  # type: ignore[misc]
            "official": lambda b=binary, m=masks, t=train: official(b, m, t),  # type: ignore[misc]
        }
        ious = {}
        for name, run in runs.items():
            iou, wall, cpu = timed(run)
            ious[name] = iou
            row = rows.setdefault(name, {"wall_s": [], "cpu_s": [], "val_set_iou": []})
            for key, value in (("wall_s", wall), ("cpu_s", cpu), ("val_set_iou", float(iou.nanmean()))):
                row[key].append(round(value, 4))
            print(f"seed {seed} {name:13s} {wall:7.2f} s wall {cpu:7.2f} s cpu  set IoU {float(iou.nanmean()):.3f}")
        agreement.append(round(spearman(ious["fast"], ious["official"]), 3))
        load.append(round(os.getloadavg()[0], 1))
    median = {name: {k: round(statistics.median(v), 3) for k, v in row.items()} for name, row in rows.items()}
    result = {
        "what": "concept probing, fast recipe against the official Net2Vec loop",
        "setting": {"concepts": K, "channels": C, "images": args.images, "map": MAP, "mask": MASK, "seeds": args.seeds},
        "machine": {"cores": os.cpu_count(), "threads": args.threads, "load_average": load},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "median": median,
        "speedup_of_fast_over_official": {
            key: round(median["official"][key] / median["fast"][key], 1) for key in ("wall_s", "cpu_s")
        },
        "spearman_fast_official_over_concepts": agreement,
        "runs": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: result[k] for k in ("median", "speedup_of_fast_over_official")}, indent=1))


if __name__ == "__main__":
    main()
