"""Which families leave as ONNX and torch.export, at which sizes; and latency: eager, compiled, ONNX.

    python benchmarks/speed/export.py                            # all that is missing in the results, one by one
    python benchmarks/speed/export.py --names "cmx_*" --parts onnx,latency,pt2,compiled [--again]
    python benchmarks/speed/export.py --table-only               # benchmarks/README.md from the results

One model a family, the smallest, random weights; and bundled checkpoints. Every part of every model runs in a process
of its own with a time limit, and is written at once: a stopped run goes on where it was.

* `onnx`: `fusionzoo.export(name, "model.onnx", preprocess="beside")`, so that the next part can time it: the sizes that
  it takes, the largest difference from PyTorch.
* `pt2`: the same as a program of torch.export.
* `latency`: PyTorch and onnxruntime one after the other, CPU time of one pass at batch 1, one thread: medians of
  `--rounds`, and the ratio within each round with its spread.
* `compiled`: PyTorch eager and `torch.compile` in the same way; compiling is not counted, and told apart.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _common import RESULTS, about, spread

import fusionzoo
from fusionzoo.errors import FusionZooError
from fusionzoo.export.graph import example
from fusionzoo.files import atomic_write, dump_json
from fusionzoo.hub.markdown import grid
from fusionzoo.hub.records import bundled
from fusionzoo.registry import architectures

OUT = RESULTS / "export.json"
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- export: begin -->", "<!-- export: end -->"
PARTS = ("onnx", "latency", "pt2", "compiled")
SIZE = (240, 320)


def smallest() -> list[str]:
    """The smallest variant of each published family, by the parameters in results/zoo.json, then bundled models."""
    counts = json.loads((RESULTS / "zoo.json").read_text())["models"]
    families: dict[Any, list[str]] = {}
    for name in architectures:
        builder = architectures.get(name)
        families.setdefault(builder.func if isinstance(builder, partial) else builder, []).append(name)
    size = lambda name: counts.get(name, {}).get("params", float("inf"))  # noqa: E731
    return [min(names, key=size) for names in families.values()] + [n for n in bundled() if "025" in n and "nyuv2" in n]


def model_of(name: str) -> Any:
    return fusionzoo.from_pretrained(name) if name in bundled() else fusionzoo.create_model(name)


def exported(name: str, path: Path) -> dict[str, Any]:
    """What `fusionzoo.export` says of a model; the file stays for `latency`."""
    start = time.process_time()
    try:
        done = fusionzoo.export(name, path, preprocess="beside" if path.suffix == ".onnx" else "inside")
    except FusionZooError as error:
        return {"fails": str(error)}
    return {
        "takes": done.shapes.says(), "fixed_because": done.fixed_because, "largest": done.comparison.largest,
        "logits": done.comparison.logits, "same_class": done.comparison.same_class, "opset": done.opset,
        "mb": round(done.size_bytes / 1e6, 1), "cpu_s": round(time.process_time() - start, 1),
    }  # fmt: skip


def side_by_side(a: Callable[[], Any], b: Callable[[], Any], rounds: int) -> dict[str, Any]:
    """CPU milliseconds of both and b / a within each round, after two passes of each."""
    times: list[list[float]] = [[], []]
    for i in range(rounds + 2):
        for call, kept in zip((a, b), times, strict=True):
            start = time.process_time()
            call()
            if i >= 2:
                kept.append(1000 * (time.process_time() - start))
    ratios = [y / x for x, y in zip(*times, strict=True)]
    return {"eager_ms": spread(times[0]), "ms": spread(times[1]), "ratio": spread(ratios)}


def latency(name: str, rounds: int, path: Path) -> dict[str, Any]:
    """Eager against onnxruntime, preprocessing left out of both."""
    import onnxruntime

    model = model_of(name)
    rgb, x = example(model.preprocess, False, (1, *SIZE))
    if not path.is_file() and "fails" in (done := exported(name, path)):
        return done
    facts = json.loads(path.with_name(f"{path.name}.json").read_text())
    if facts["shapes"]["height"] is not None:
        rgb, x = example(model.preprocess, False, (1, facts["shapes"]["height"], facts["shapes"]["width"]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    taken = {i.name for i in session.get_inputs()}
    given = {k: v for k, v in (("rgb", rgb.numpy()), ("x", x.numpy())) if k in taken}
    with torch.inference_mode():
        found = side_by_side(lambda: model(rgb, x), lambda: session.run(None, given), rounds)
    return {"size": list(rgb.shape[-2:]), **found}


def compiled(name: str, rounds: int) -> dict[str, Any]:
    """Eager against torch.compile."""
    model = model_of(name)
    pair = example(model.preprocess, False, (1, *SIZE))
    start = time.process_time()
    fast = torch.compile(model)
    with torch.inference_mode():
        fast(*pair)
        compiling = time.process_time() - start
        return {"size": list(SIZE), "compiling_s": round(compiling, 1),
                **side_by_side(lambda: model(*pair), lambda: fast(*pair), rounds)}  # fmt: skip


def part_of(name: str, part: str, rounds: int, folder: Path) -> dict[str, Any]:
    """One part of one model, in this process."""
    torch.set_num_threads(1)
    if part in ("onnx", "pt2"):
        return exported(name, folder / f"model.{part}")
    return latency(name, rounds, folder / "model.onnx") if part == "latency" else compiled(name, rounds)


def measured(name: str, part: str, args: argparse.Namespace, folder: str) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--child", name, "--parts", part, "--rounds", str(args.rounds)]
    command += ["--folder", folder]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=args.limit)
    except subprocess.TimeoutExpired:
        return {"stopped": f"not done after {args.limit} s"}
    if done.returncode:
        return {"fails": (done.stderr.strip().splitlines() or ["killed"])[-1][:300]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def table(models: dict[str, Any]) -> str:
    """The table in Markdown."""
    rows = []
    for name, parts in models.items():
        onnx, pt2, run, fast = (parts.get(part, {}) for part in PARTS[:1] + PARTS[2:3] + PARTS[1:2] + PARTS[3:])
        rows.append([
            name, said(onnx), f"{onnx['largest']:.0e} of {onnx['logits']:.2g}" if "largest" in onnx else "",
            said(pt2), f"{run['eager_ms']['median']:.0f}" if "ratio" in run else "", ratio(run), ratio(fast),
        ])  # fmt: skip
    columns = [
        "model",
        "ONNX takes",
        "difference",
        "torch.export takes",
        "eager, ms",
        "ONNX / eager",
        "compiled / eager",
    ]
    return grid(columns, rows, "<<<<>>>")


def stored() -> dict[str, Any]:
    """What was measured so far."""
    models: dict[str, Any] = json.loads(OUT.read_text())["models"] if OUT.is_file() else {}
    return models


def said(part: dict[str, Any]) -> str:
    return part.get("takes") or ("no" if "fails" in part else "not run" if not part else "stopped")


def ratio(part: dict[str, Any]) -> str:
    if "ratio" not in part:
        return "no" if "fails" in part else "stopped" if "stopped" in part else ""
    return "{median:.2f} ({min:.2f}-{max:.2f})".format(**part["ratio"])


def write(models: dict[str, Any], args: argparse.Namespace, load: Sequence[float]) -> None:
    setting = {"rounds": args.rounds, "threads": 1, "size": list(SIZE)}
    atomic_write(OUT, dump_json({**about("export", load, **setting), "models": models}, indent=1))
    text = README.read_text(encoding="utf-8")
    if BEGIN in text:
        start, stop = text.index(BEGIN) + len(BEGIN), text.index(END)
        atomic_write(README, text[:start] + "\n" + table(models) + text[stop:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", default="*", help="patterns, with commas between")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--limit", type=int, default=220, help="seconds for one part of one model")
    parser.add_argument("--again", action="store_true", help="also what is there already")
    parser.add_argument("--table-only", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(part_of(args.child, args.parts, args.rounds, args.folder)))
        return
    models = stored()
    load = [os.getloadavg()[0]]
    for name in [] if args.table_only else smallest():
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in args.names.split(",")):
            continue
        with tempfile.TemporaryDirectory() as folder:
            for part in args.parts.split(","):
                before = models.get(name, {}).get(part, {})
                if before and "stopped" not in before and not args.again:
                    continue
                found = measured(name, part, args, folder)
                models = stored()  # another run may have written meanwhile
                models.setdefault(name, {})[part] = found
                print(name, part, found, flush=True)
                write(models, args, [*load, os.getloadavg()[0]])
    if args.table_only:
        write(models, args, load)


if __name__ == "__main__":
    main()
