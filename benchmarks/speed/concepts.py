"""Concept probing: the fast recipe against the official Net2Vec loop on planted distributed codes, and on NYUv2.

    python benchmarks/speed/concepts.py [--threads 1] [--images 200] [--seeds 0 1 2] [--nyuv2 FOLDER] [--out FILE]

Part 1. 20 concepts, 256 channels, 200 images, maps 28x28, masks 112x112, 70 % of the images for training; every concept
is coded by 38 of the channels, which overlap. Activations of the network are given in memory to all methods alike.

* `official`: the 2018 code's loop as it was run: per concept, batches of 16, autograd, SGD. Thresholds and binary maps
  are given to it and not counted; set IoU on the images that contain the concept.
* `net2vec_2018`: our reference of the same numbers, gradient in closed form, thresholds counted.
* `fast`: quantile sketch, statistics, one ridge solve, calibrated threshold; everything counted.
* `fast_raw`: the same on raw channels, without thresholds.
* `unit`: the best single binary channel, chosen on the training images, at map resolution.

Part 2, where NYUv2 is there (--nyuv2, by default ../shared/data/nyuv2). 40 concepts, every probe point of a bundled
checkpoint that a map passes; a tensor that passes several of them (a stage's output is its fusion block's input) is
dissected once. `dissect(metrics=["concepts"])`, noise floors included, against the bare forward passes, in turn, with
the samples in memory: loading them is timed apart. Two ratios: to one pass over the images, and to the forward passes
of as many images as the analysis itself feeds (binary channels read each image 2.5 times: thresholds, training half,
curves; raw channels 1.5 times).

Part 3. The fast recipe and `net2vec_2018` on the checkpoint's level points: Spearman's rank correlation of the set IoU
of the concepts at each point, and of the points' mean set IoU.

CPU time is reported beside wall time: other work on the machine adds to the second only. Both are of one process, with
the methods in turn.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from _common import RESULTS, about, spread, write
from torch import Tensor, nn
from torch.nn import functional

import fusionzoo
from fusionzoo.data import NYUv2, collate
from fusionzoo.data.validate import checked
from fusionzoo.dissect import dissect
from fusionzoo.dissect.conditions import normalised
from fusionzoo.dissect.results import Protocol
from fusionzoo.dissect.split import Split
from fusionzoo.metrics import ConceptCurve, ConceptStatistics, Quantiles, concept_masks, net2vec_2018, spearman
from fusionzoo.metrics.concepts import area_masks
from fusionzoo.probes import listen, probe_points

TAU, RIDGE = Protocol().tau, Protocol().ridge

T = TypeVar("T")

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


def timed(run: Callable[[], T]) -> tuple[T, float, float]:
    """What `run` returns, wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def part_one(args: argparse.Namespace) -> dict[str, Any]:
    """Planted codes: times, set IoU, agreement with the official loop."""
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
                row[key].append(value)
            print(f"seed {seed} {name:13s} {wall:7.2f} s wall {cpu:7.2f} s cpu  set IoU {float(iou.nanmean()):.3f}")
        agreement.append(spearman(ious["fast"], ious["official"]))
    pairs = {k: list(zip(rows["official"][k], rows["fast"][k], strict=True)) for k in ("wall_s", "cpu_s")}
    return {
        "what": "planted codes: fast recipe against the official Net2Vec loop",
        "sizes": {"concepts": K, "channels": C, "images": args.images, "map": MAP, "mask": MASK, "seeds": args.seeds},
        "numbers": {name: {k: spread(v) for k, v in row.items()} for name, row in rows.items()},
        "speedup_of_fast_over_official": {k: spread([a / b for a, b in both]) for k, both in pairs.items()},
        "spearman_fast_official_over_concepts": spread(agreement),
    }


class Held:
    """Samples of a dataset in memory; counts how many are asked for."""

    def __init__(self, data: Any) -> None:
        self.data, self.samples, self.asked = data, [data[i] for i in range(len(data))], 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        self.asked += 1
        return self.samples[index]


def passing(model: Any, pair: tuple[Tensor, Tensor]) -> tuple[int, dict[str, tuple[int, ...]]]:
    """Probe points that a map passes, and of each distinct tensor the first of its points with its shape."""
    found: dict[tuple[int, int, tuple[int, ...]], str] = {}
    kept: list[Tensor] = []  # so that no memory is used twice

    def note(name: str, value: Tensor) -> None:
        if value.ndim == 4:
            kept.append(value)
            found.setdefault((value.data_ptr(), value._version, tuple(value.shape)), name)

    with listen(model, dict.fromkeys(probe_points(model), note)):
        model(*pair)
    return len(kept), {name: key[2] for key, name in found.items()}


def part_two(args: argparse.Namespace, model: Any, held: Held, loading: float) -> dict[str, Any]:
    """The cost of the whole concept analysis at all probe points, in units of forward passes."""
    batches = [collate([checked(s, held.data) for s in held.samples[i : i + 8]]) for i in range(0, len(held), 8)]
    with torch.no_grad():
        probes, points = passing(model, normalised(model, batches[0]))

    def forward() -> None:
        with torch.no_grad():
            for batch in batches:
                model(*normalised(model, batch))

    levels = {i: {"fused": name} for i, name in enumerate(points)}
    analysed = type("Analysed", (type(model),), {"levels": property(lambda _: levels)})
    rows: dict[str, dict[str, list[float]]] = {}
    fed = {}
    for turn in range(args.rounds):
        _, wall, cpu = timed(forward)
        row = rows.setdefault("forward", {"wall_s": [], "cpu_s": []})
        row["wall_s"].append(wall)
        row["cpu_s"].append(cpu)
        for name, tau in (("binary", TAU), ("raw", None)):
            plain, model.__class__, held.asked = type(model), analysed, 0
            try:
                _, wall_, cpu_ = timed(lambda t=tau: dissect(model, held, metrics=["concepts"], tau=t, progress=False))  # type: ignore[misc]
            finally:
                model.__class__ = plain
            fed[name] = (held.asked - 1) / len(held)
            row = rows.setdefault(name, {k: [] for k in ("wall_s", "cpu_s", "cpu_over_one_pass", "cpu_over_as_many")})
            row["wall_s"].append(wall_)
            row["cpu_s"].append(cpu_)
            row["cpu_over_one_pass"].append(cpu_ / cpu)
            row["cpu_over_as_many"].append(cpu_ / cpu / fed[name])
            print(f"round {turn} {name:7s} {cpu_ / cpu:.2f} x one forward pass, {cpu_ / cpu / fed[name]:.2f} x as many")
    return {
        "what": "NYUv2: whole concept analysis at all probe points, in units of bare forward passes",
        "checkpoint": args.checkpoint,
        "images": len(held),
        "size": list(batches[0]["rgb"].shape[-2:]),
        "concepts": held.num_classes,
        "probe_points": probes,
        "distinct_tensors": len(points),
        "channels": sum(shape[1] for shape in points.values()),
        "loading_cpu_s": round(loading, 2),
        "times_each_image_is_fed": {k: round(v, 3) for k, v in fed.items()},
        "numbers": {name: {k: spread(v) for k, v in row.items()} for name, row in rows.items()},
    }


def part_three(args: argparse.Namespace, model: Any, held: Held) -> dict[str, Any]:
    """Rank agreement of the fast recipe and net2vec_2018 at the level points."""
    count = min(args.agreement_images, len(held))
    samples = [checked(held.samples[i * len(held) // count], held.data) for i in range(count)]
    labels = torch.stack([s["label"] for s in samples])
    split = Split.of(count)
    train = torch.tensor([split.role(i) != "held" for i in range(count)])
    half = torch.tensor([split.role(i) == "half0" for i in range(count)])
    height, width = samples[0]["rgb"].shape[-2:]
    names = [name for at in model.levels.values() for name in at.values()]
    maps: dict[str, list[Tensor]] = {name: [] for name in names}
    with torch.no_grad(), listen(model, dict.fromkeys(names, lambda name, value: maps[name].append(value.clone()))):
        for i in range(0, count, 8):
            model(*normalised(model, collate(samples[i : i + 8])))
    concepts, index = held.num_classes, held.ignore_index
    masks, valid = concept_masks(labels, concepts, (height // 4, width // 4), index, "nearest")
    ious: dict[str, list[Tensor]] = {k: [] for k in ("net2vec", "same_tau", "default", "first_half", "second_half")}
    for name in names:
        value = torch.cat(maps.pop(name))
        area = concept_masks(labels, concepts, (value.shape[2], value.shape[3]), index, "area")

        def probed(tau: float, fit: Tensor, value: Tensor = value, area: tuple[Tensor, Tensor] = area) -> Tensor:
            sketch = Quantiles(value.shape[1], tau)
            sketch.update(value)
            sums, curve = ConceptStatistics(value.shape[1], concepts, sketch.compute()), ConceptCurve(concepts)
            sums.update(value[fit], area[0][fit], area[1][fit])
            curve.update(sums.solve(RIDGE).score(value), masks, valid, train=train)
            return curve.compute().iou

        ious["same_tau"].append(probed(0.005, train))
        ious["default"].append(probed(TAU, train))
        ious["first_half"].append(probed(TAU, half))
        ious["second_half"].append(probed(TAU, train & ~half))
        ious["net2vec"].append(net2vec_2018(value, masks, train).iou)
        print(f"{name:24s} " + " ".join(f"{k} {float(v[-1].nanmean()):.3f}" for k, v in ious.items()), flush=True)
    table = {name: torch.stack(rows) for name, rows in ious.items()}  # (points, concepts)
    known = torch.stack(list(table.values())).isfinite().all(0).all(0)

    def agreement(a: str, b: str) -> dict[str, Any]:
        first, second = table[a][:, known], table[b][:, known]
        return {
            "over_concepts_at_each_point": spread([spearman(x, y) for x, y in zip(first, second, strict=True)]),
            "over_points_of_mean_iou": round(spearman(first.mean(1), second.mean(1)), 3),
        }

    return {
        "what": "NYUv2: Spearman rank agreement of the fast recipe and net2vec-2018",
        "images": count,
        "points": names,
        "concepts_seen_in_all_parts": int(known.sum()),
        "mean_set_iou": {name: round(float(rows[:, known].mean()), 4) for name, rows in table.items()},
        "fast_at_tau_0.005_and_net2vec": agreement("same_tau", "net2vec"),
        "fast_at_its_default_tau_and_net2vec": agreement("default", "net2vec"),
        "fast_on_two_halves_of_the_training_images": agreement("first_half", "second_half"),
        "limits": [
            f"{count} images, half of them for training: rare concepts have a handful of training images",
            "the last pair is the agreement that sampling alone allows: no two recipes can be asked for more",
            "net2vec-2018 takes steps in proportion to a concept's images, so it underrates rare ones",
            f"{len(names)} points of one network: a rank correlation over so few has a standard error of about "
            f"{1 / (len(names) - 1) ** 0.5:.1f} where there is none",
            "net2vec-2018 counts unlabelled pixels as background; the fast recipe leaves them out",
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    shared = Path(__file__).parents[3] / "shared" / "data" / "nyuv2"
    parser.add_argument("--nyuv2", type=Path, default=shared)
    parser.add_argument("--nyuv2-images", type=int, default=128)
    parser.add_argument("--agreement-images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2, help="of part 2")
    parser.add_argument("--checkpoint", default="hybrid_tu-tf-efficientnet-lite2_fpn.nyuv2-40")
    parser.add_argument("--out", type=Path, default=RESULTS / "concepts.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    load, parts = [os.getloadavg()[0]], {}
    if args.seeds:
        parts["planted"] = part_one(args)
        load.append(os.getloadavg()[0])
    if args.nyuv2.is_dir():
        model = fusionzoo.from_pretrained(args.checkpoint).eval()
        classes = len(model.class_names)
        data = NYUv2(args.nyuv2, split="test", size=model.input_size, limit=args.nyuv2_images, num_classes=classes)
        held, _, loading = timed(lambda: Held(data))
        parts["cost"] = part_two(args, model, held, loading)
        load.append(os.getloadavg()[0])
        parts["agreement"] = part_three(args, model, held)
        load.append(os.getloadavg()[0])
    else:
        print(f"no NYUv2 at {args.nyuv2}: parts 2 and 3 left out")
    write({**about("concepts", load, threads=args.threads), **parts}, args.out)


if __name__ == "__main__":
    main()
