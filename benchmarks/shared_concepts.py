"""Concepts without labels, against truth: which way finds what is planted, and tells whose it is?

    python benchmarks/shared_concepts.py [--scenes 200] [--seeds 0 1 2] [--data planted planted-2] [--ways ...]
    python benchmarks/shared_concepts.py --figure     # results/shared_concepts.json -> results/shared_concepts.svg

Features of rgb and x of the four bundled planted checkpoints at stage 3 (stride 8), on test scenes; on `planted-2` the
same checkpoints, which have never seen it. Every way is fitted without labels to 4096 positions of every second scene
(another sample for every seed) and may have 48 elements:

* `joint_ica`: `fusionzoo.metrics.concepts.shared_dictionary`, the one that the package ships.
* `sparse`: a dictionary of at most three atoms a position, none negative: matching pursuit, then least squares.
* `autoencoder`: a TopK sparse autoencoder (four of 48), one code and a decoder for each stream, as the universal one
  (arXiv 2502.03714), but encoded from both streams together, since it is to find what only one has.
* `neighbourhood`: positions near in both streams, near in rgb and far in x, the reverse (after arXiv 2505.23917): a
  spectral clustering of each of the three affinities of 1000 positions, 16 clusters each.

Each element and concept has the threshold of best set IoU on the fitted scenes; elements are assigned to concepts
there (Hungarian), and what is stated is measured on the other scenes: mean set IoU of the matched concepts (`iou`), of
those of one modality (`private_iou`); `shared_auroc`: concepts of both modalities against those of one, by the score of
the matched element; `side_auroc`: those of rgb against those of x. The score is the ratio of the two R2
(`SharedDictionary.shared`) for the first three ways, and by the decoders' energy beside it (`energy_auroc`); for
neighbourhoods the mean affinity within the cluster. `stability`: mean correlation of matched codes of two seeds;
`dead`: elements that are active on no other scene. Joint concepts and `unseen` are left out.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import roc_auc_score
from torch import Tensor

import fusionzoo
from fusionzoo.data import Planted, collate
from fusionzoo.data.planted_graded import PlantedGraded
from fusionzoo.dissect.conditions import normalised
from fusionzoo.files import atomic_write
from fusionzoo.metrics import concept_masks
from fusionzoo.metrics.concepts import shared_dictionary
from fusionzoo.probes import listen
from fusionzoo.report import style, svg
from fusionzoo.report.shapes import WIDTH, drawing, text

RESULTS = Path(__file__).resolve().parent / "results"
CHECKPOINTS = [f"{s}_mobilenetv1-025_fpn.planted" for s in ("concat", "gate", "cross_attention", "hybrid")]
DATA = {"planted": Planted, "planted-2": PlantedGraded}
STAGE, ELEMENTS, POSITIONS = 3, 48, 4096
FIGURES = {
    "iou": "set IoU of the matched concepts, percent",
    "private_iou": "of those that one modality shows",
    "shared_auroc": "shared told from private, AUROC in percent",
    "stability": "correlation of two seeds' codes, percent",
}

Code = Callable[[Tensor, Tensor], Tensor]
Fit = tuple[Code, Tensor, Tensor, dict[str, Tensor]]
"""Features -> code, none negative; scores of sharedness and of rgb against x; other scores of sharedness by name."""


def features(name: str, data: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """rgb (n, C), x (n, D), concept masks (n, K) bool and the number of the scene (n,), the padding left out."""
    model = fusionzoo.from_pretrained(name).eval()
    at, seen, labels = model.levels[STAGE], {"rgb": [], "x": []}, []
    hear = {at[s]: (lambda _, v, s=s: seen[s].append(v.clone())) for s in seen}
    with torch.no_grad(), listen(model, hear):
        for i in range(0, len(data), 10):
            batch = collate([data[j] for j in range(i, min(i + 10, len(data)))])
            model(*normalised(model, batch))
            labels.append(batch["label"])
    rgb, x, label = torch.cat(seen["rgb"]), torch.cat(seen["x"]), torch.cat(labels)
    height, width = label.shape[-2:]
    down, right = -height % model.stride, -width % model.stride
    whole = F.pad(label, (0, right, 0, down), value=255)
    masks = concept_masks(whole, data.num_classes, rgb.shape[-2:], 255, "area")[0] > 0.5
    rows = math.floor(rgb.shape[2] * height / (height + down))
    columns = math.floor(rgb.shape[3] * width / (width + right))
    flat = [t[..., :rows, :columns].permute(0, 2, 3, 1).flatten(0, 2) for t in (rgb, x, masks)]
    return flat[0].double(), flat[1].double(), flat[2], torch.arange(len(data)).repeat_interleave(rows * columns)


# ------------------------------------------------------------------------------------------------------------- the ways


def joint_ica(rgb: Tensor, x: Tensor, seed: int) -> Fit:
    found = shared_dictionary(rgb, x, ELEMENTS, seed=seed)
    side = found.r2_rgb / (found.r2_rgb + found.r2_x).clamp(min=1e-12)
    return (
        lambda a, b: found.code(a, b).clamp(min=0),
        found.shared,
        side,
        {"energy": _ratio(found.energy_rgb, found.energy_x)},
    )


def sparse(rgb: Tensor, x: Tensor, seed: int, most: int = 3) -> Fit:
    unit, split = _scaled(rgb, x), rgb.shape[1]
    rows, drawn = unit(rgb, x), torch.Generator().manual_seed(seed)
    atoms = F.normalize(rows[_spread(rows, ELEMENTS, drawn)], dim=1)
    for _ in range(30):
        code = _pursuit(rows, atoms, most)
        gram = code.T @ code
        gram.diagonal().add_(1e-6 * gram.diagonal().mean())
        atoms = torch.linalg.solve(gram, code.T @ rows)
        size = atoms.norm(dim=1)
        dead = (code.sum(0) <= 0) | (size < 1e-9)
        if bool(dead.any()):  # again, at what is explained worst
            rest = (rows - code @ atoms).square().sum(1)
            atoms[dead] = rows[rest.topk(int(dead.sum())).indices]
        atoms = F.normalize(atoms, dim=1)
    return _scores(lambda a, b: _pursuit(unit(a, b), atoms, most), atoms, split, rgb, x)


def autoencoder(rgb: Tensor, x: Tensor, seed: int, most: int = 4, steps: int = 600) -> Fit:
    unit, split = _scaled(rgb, x), rgb.shape[1]
    rows, drawn = unit(rgb, x).float(), torch.Generator().manual_seed(seed)
    decoder = F.normalize(torch.randn(ELEMENTS, rows.shape[1], generator=drawn), dim=1).requires_grad_()
    encoder, bias = decoder.detach().clone().requires_grad_(), torch.zeros(ELEMENTS, requires_grad=True)
    middle = rows.mean(0).clone().requires_grad_()

    def code(values: Tensor) -> Tensor:
        before = torch.relu((values - middle) @ encoder.T + bias)
        top, at = before.topk(most, 1)
        return torch.zeros_like(before).scatter(1, at, top)

    optimiser = torch.optim.Adam([decoder, encoder, bias, middle], lr=5e-3)
    for _ in range(steps):
        part = rows[torch.randint(len(rows), (512,), generator=drawn)]
        loss = (code(part) @ F.normalize(decoder, dim=1) + middle - part).square().sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    atoms = F.normalize(decoder.detach(), dim=1).double()
    return _scores(lambda a, b: code(unit(a, b).float()).detach().double(), atoms, split, rgb, x)


def neighbourhood(rgb: Tensor, x: Tensor, seed: int, count: int = 1000, near: int = 15) -> Fit:
    drawn = torch.randperm(len(rgb), generator=torch.Generator().manual_seed(seed))[:count]
    a, b = rgb[drawn].float(), x[drawn].float()

    def affinity(rows: Tensor, to: Tensor, reach: Tensor) -> Tensor:
        far = torch.cdist(rows, to)
        own = far.topk(near, dim=1, largest=False).values[:, -1]
        return torch.exp(-far.square() / (own[:, None] * reach).clamp(min=1e-12))

    reach = [torch.cdist(t, t).topk(near + 1, dim=1, largest=False).values[:, -1] for t in (a, b)]
    one, two = affinity(a, a, reach[0]), affinity(b, b, reach[1])
    parts: list[Callable[[Tensor, Tensor], Tensor]] = [
        lambda p, q: p * q, lambda p, q: p * (1 - q), lambda p, q: q * (1 - p),
    ]  # fmt: skip
    members, kinds, shared, side = [], [], [], []
    for kind, part in enumerate(parts):
        graph = part(one, two).double().fill_diagonal_(0)
        degree = graph.sum(1).clamp(min=1e-9).rsqrt()
        vectors = torch.linalg.eigh(degree[:, None] * graph * degree).eigenvectors[:, -ELEMENTS // 3 :]
        groups = KMeans(ELEMENTS // 3, n_init=1, random_state=seed).fit_predict(F.normalize(vectors, dim=1).numpy())
        for g in range(ELEMENTS // 3):
            mine = torch.from_numpy(groups == g)
            if int(mine.sum()) >= 5:
                p, q = one[mine][:, mine].mean(), two[mine][:, mine].mean()
                members.append(mine.float())
                kinds.append(kind)
                shared.append(torch.minimum(p, q) / torch.maximum(p, q))
                side.append(p / (p + q))
    weights = torch.stack(members, 1)

    def code(first: Tensor, second: Tensor) -> Tensor:
        found = []
        for u, v in zip(first.float().split(4096), second.float().split(4096), strict=True):
            p, q = affinity(u, a, reach[0]), affinity(v, b, reach[1])
            shares = [(m := part(p, q)) @ weights / m.sum(1, keepdim=True).clamp(min=1e-12) for part in parts]
            found.append(torch.stack([shares[k][:, i] for i, k in enumerate(kinds)], 1))
        return torch.cat(found).double()

    built = torch.tensor([float(k == 0) for k in kinds])
    return code, torch.stack(shared), torch.stack(side), {"energy": built}


WAYS = {"joint_ica": joint_ica, "sparse": sparse, "autoencoder": autoencoder, "neighbourhood": neighbourhood}


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    return torch.minimum(a, b) / torch.maximum(a, b).clamp(min=1e-12)


def _scaled(rgb: Tensor, x: Tensor) -> Code:
    """Both streams as one vector, each of unit total variance."""
    mean = [t.mean(0) for t in (rgb, x)]
    size = [(t - m).square().sum(1).mean().sqrt() for t, m in zip((rgb, x), mean, strict=True)]
    return lambda a, b: torch.cat([(a - mean[0]) / size[0], (b - mean[1]) / size[1]], 1)


def _scores(code: Code, atoms: Tensor, split: int, rgb: Tensor, x: Tensor) -> Fit:
    """By the R2 of the code from either stream, measured on the half of the positions that it was not fitted to."""
    values, half, told = code(rgb, x), len(rgb) // 2, []
    for rows in (rgb, x):
        about = torch.cat([rows - rows.mean(0), torch.ones(len(rows), 1, dtype=rows.dtype)], 1)
        gram = about[:half].T @ about[:half]
        gram.diagonal().add_(1e-3 * gram.diagonal().mean())
        rest = values[half:] - about[half:] @ torch.linalg.solve(gram, about[:half].T @ values[:half])
        spread = (values[half:] - values[half:].mean(0)).square().sum(0).clamp(min=1e-12)
        told.append((1 - rest.square().sum(0) / spread).clamp(min=0))
    energy = atoms[:, :split].square().sum(1), atoms[:, split:].square().sum(1)
    return code, _ratio(*told), told[0] / (told[0] + told[1]).clamp(min=1e-12), {"energy": _ratio(*energy)}


def _spread(rows: Tensor, count: int, drawn: torch.Generator) -> list[int]:
    """Rows far from each other, drawn as k-means++ draws them."""
    found = [int(torch.randint(len(rows), (1,), generator=drawn))]
    far = (rows - rows[found[0]]).square().sum(1)
    for _ in range(count - 1):
        found.append(int(torch.multinomial(far, 1, generator=drawn)))
        far = torch.minimum(far, (rows - rows[found[-1]]).square().sum(1))
    return found


def _pursuit(rows: Tensor, atoms: Tensor, most: int) -> Tensor:
    """(n, K) code of at most so many atoms a row, none negative."""
    code, fits, gram = rows.new_zeros(len(rows), len(atoms)), rows @ atoms.T, atoms @ atoms.T
    every = torch.arange(len(rows))
    for _ in range(most):
        value, at = fits.max(1)
        value = value.clamp(min=0)
        code[every, at] += value
        fits = fits - value[:, None] * gram[at]
    return code


# ------------------------------------------------------------------------------------------------------- against truth


def thresholds(code: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Set IoU (K, concepts) at the best threshold of each element and concept, and these."""
    hits, total = masks.double(), masks.double().sum(0)
    best, at = (
        torch.zeros(code.shape[1], masks.shape[1]),
        torch.full((code.shape[1], masks.shape[1]), torch.inf).double(),
    )
    for k in range(code.shape[1]):
        ranked, order = code[:, k].sort(descending=True)
        some = torch.linspace(0, int((ranked > 0).sum()) - 1, 200).long().unique()
        some = some[some >= 0]
        if len(some):
            hit = hits[order].cumsum(0)[some]
            iou, i = (hit / ((some + 1)[:, None] + total - hit)).max(0)
            best[k], at[k] = iou, ranked[some][i]
    return best, at


def correlation(one: Tensor, other: Tensor) -> float:
    """Mean |correlation| of the columns, matched."""
    unit = [F.normalize(t - t.mean(0), dim=0) for t in (one, other)]
    table = (unit[0].T @ unit[1]).abs().numpy()
    return float(table[linear_sum_assignment(-table)].mean())


def judge(
    fit: Fit, there: Sequence[Tensor], held: Sequence[Tensor], kinds: Sequence[str]
) -> tuple[dict[str, float], Tensor]:
    """The figures, and the code on the scenes held out."""
    code, shared, side, others = fit
    (rgb, x, masks), (rgb_h, x_h, masks_h) = there, held
    known = [k for k, kind in enumerate(kinds) if kind in ("both", "rgb", "x") and bool(masks[:, k].any())]
    best, at = thresholds(code(rgb, x), masks[:, known])
    rows, columns = linear_sum_assignment(-best.numpy())
    values = code(rgb_h, x_h)
    iou, where = {}, {}
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        mask, said = masks_h[:, known[j]], values[:, i] >= at[i, j]
        iou[known[j]] = float((mask & said).sum() / max(1, int((mask | said).sum())))
        where[known[j]] = i
    both = [kinds[k] == "both" for k in iou]
    private = [k for k in iou if kinds[k] != "both"]
    auroc = lambda score: float(roc_auc_score(both, [float(score[where[k]]) for k in iou]))  # noqa: E731
    return {
        "iou": mean(iou.values()),
        "private_iou": mean(iou[k] for k in private),
        "shared_auroc": auroc(shared),
        "energy_auroc": auroc(others["energy"]),
        "side_auroc": float(
            roc_auc_score([kinds[k] == "rgb" for k in private], [float(side[where[k]]) for k in private])
        ),
        "dead": float((values.amax(0) <= 0).sum()),
    }, values


def run(checkpoint: str, data: Any, ways: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    rgb, x, masks, scene = features(checkpoint, data)
    kinds = list(data.concepts.values())
    parts = [[t[scene % 2 == r] for t in (rgb, x, masks)] for r in (0, 1)]
    found = []
    for way in ways:
        rows, codes = [], []
        for seed in seeds:
            g = torch.Generator().manual_seed(100 + seed)
            drawn = torch.randperm(len(parts[0][0]), generator=g)[:POSITIONS]
            started = time.process_time()
            fit = WAYS[way](parts[0][0][drawn], parts[0][1][drawn], seed)
            seconds = time.process_time() - started
            figures, values = judge(fit, *parts, kinds)
            rows.append({"seed": seed, "seconds": seconds, **figures})
            codes.append(values)
        pairs = [correlation(codes[i], codes[j]) for i in range(len(codes)) for j in range(i)]
        found.append({"data": data.name, "checkpoint": checkpoint, "way": way, "runs": rows,
                      "stability": mean(pairs) if pairs else None})  # fmt: skip
        print(data.name, checkpoint, way, {k: round(mean(r[k] for r in rows), 3) for k in rows[0]}, flush=True)
    return found


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Data -> way -> figure -> mean over checkpoints and seeds, and the standard deviation over them."""
    made: dict[str, dict[str, dict[str, list[float]]]] = {}
    for data, way in dict.fromkeys((r["data"], r["way"]) for r in rows):
        mine = [r for r in rows if (r["data"], r["way"]) == (data, way)]
        runs = [run for r in mine for run in r["runs"]]
        figures = {k: [v[k] for v in runs] for k in runs[0] if k != "seed"} | {
            "stability": [r["stability"] for r in mine]
        }
        made.setdefault(data, {})[way] = {
            k: [round(mean(v), 4), round(stdev(v), 4) if len(v) > 1 else 0.0] for k, v in figures.items()
        }
    return made


def figure(found: dict[str, Any]) -> str:
    """What each way finds, the mean over the data, as one picture."""
    tables, fills = list(found["summary"].values()), dict(zip(WAYS, ("rgb", "x", "fused", "both"), strict=True))
    parts, words, top = [], [], 0
    for key, name in FIGURES.items():
        rows = [(way.replace("_", " "), 100 * mean(t[way][key][0] for t in tables), fills[way]) for way in WAYS]
        words.append(f"{name}: " + ", ".join(f"{way} {value:.1f}" for way, value, _ in rows))
        inner, tall = svg.bars(key, name, words[-1], rows), 28 * len(rows) + 4
        place = f'<svg x="0" y="{top + 22}" width="{WIDTH}" height="{tall}" '
        parts += [text(4, top + 15, name, "value"), inner.replace("<svg ", place, 1)]
        top += tall + 30
    title = f"Concepts without labels, by four ways on {' and '.join(found['summary'])}"
    return style.alone(drawing("shared-concepts", title, "; ".join(words), top, "".join(parts)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--checkpoints", nargs="+", default=CHECKPOINTS)
    parser.add_argument("--out", type=Path, default=RESULTS / "shared_concepts.json", help="what is there is kept")
    parser.add_argument("--figure", action="store_true", help="only draw what --out holds")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(given.out.read_text())["rows"] if given.out.exists() else []
    for name in [] if given.figure else given.data:
        data = DATA[name]("test", n=given.scenes)
        for checkpoint in given.checkpoints:
            new = run(checkpoint, data, given.ways, given.seeds)
            keys = {(r["data"], r["checkpoint"], r["way"]) for r in new}
            rows = [r for r in rows if (r["data"], r["checkpoint"], r["way"]) not in keys] + new
            about = {"stage": STAGE, "elements": ELEMENTS, "positions": POSITIONS, "torch": str(torch.__version__)}
            found = {**about, "summary": summary(rows), "rows": rows}
            atomic_write(given.out, json.dumps(found, indent=1).encode() + b"\n")
    drawn = figure(json.loads(given.out.read_text()))
    atomic_write(given.out.with_suffix(".svg"), drawn.encode())
    print(json.dumps(summary(rows), indent=1))


if __name__ == "__main__":
    main()
