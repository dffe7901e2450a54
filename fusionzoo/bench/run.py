"""Runs a benchmark: trains and scores what the plan names and the folder does not hold yet.

`out/` holds `protocol.json`, `results/RUN.json` (one for each finished run) and `runs/RUN/` (its checkpoint; while it
trains, the state to resume from). Whatever is killed goes on with the same command and --resume: finished runs are
read, the one that was cut off resumes after its last epoch.
"""

from __future__ import annotations

import fcntl
import functools
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from fusionzoo import __version__
from fusionzoo.bench.cost import cost, counted
from fusionzoo.bench.figures import dissected
from fusionzoo.bench.plan import (
    PUBLISHED,
    Run,
    architecture,
    build,
    chosen_rates,
    final_runs,
    select_runs,
    strategies,
    variant,
)
from fusionzoo.bench.protocol import BenchProtocol, read_protocol
from fusionzoo.bench.results import RunResult, read_results
from fusionzoo.bench.same import check_same, labels_digest, weights_digest
from fusionzoo.bench.score import CONDITIONS, score
from fusionzoo.data import parse_spec
from fusionzoo.data.spec import GENERATED
from fusionzoo.data.validate import sorted_out, without_x
from fusionzoo.errors import CheckFailed, DivergedError, FusionZooError, InputError, check_known, unknown
from fusionzoo.files import atomic_write, dump_json, place_name
from fusionzoo.hub.load import from_pretrained
from fusionzoo.hub.records import read_record
from fusionzoo.schema import encode
from fusionzoo.tasks import check_task, data_task
from fusionzoo.train import Settings, finetune
from fusionzoo.train.rule import RULE
from fusionzoo.train.start import lender, new_model
from fusionzoo.train.terms import TERMS

__all__ = ["bench", "run_settings", "train_and_score"]

REFERENCE = "concat"
"""Whose latency each model's is measured beside."""
RULES = ("off", "on", "both")
Report = Callable[[list[RunResult]], None]


def bench(
    data: str,
    protocol: str | BenchProtocol,
    out: str | Path,
    *,
    patterns: str | Sequence[str] = "all",
    seeds: Sequence[int] = (0, 1, 2),
    rule: str = "off",
    init: str = "",
    resume: bool = False,
    jobs: int = 1,
    device: str | None = None,
    report: Report | None = None,
) -> tuple[list[RunResult], dict[str, str]]:
    """Trains and tests fusion strategies under one protocol: only the fusion changes.

    Args:
        data: "planted", "planted-2", "nyuv2:PATH" or "folder:PATH".
        protocol: what is held equal, or its name or file; see `read_protocol`.
        out: a new folder, or with `resume` that of an earlier run with the same protocol; a wider grid of learning
            rates adds its runs, and final runs at a rate that is no longer the best are run again and no longer shown.
        patterns: strategies: "all", names, fnmatch patterns.
        seeds: of the final runs.
        rule: "off", "on" or "both": every strategy without the rule, with it, or both ways (`fusionzoo.train.rule`).
        init: what both streams start from, a folder of a converted encoder or what else `Settings.init` may be; "":
            what the protocol names.
        jobs: processes side by side, each training one model.
        device: "cpu", "cuda", ...
        report: called with all results after each finished run.

    Returns:
        (results, strategies left out -> reason).

    Raises:
        InputError: a folder in use, or of another protocol; data that does not fit.
    """
    out = Path(out)
    if isinstance(protocol, str):
        protocol = read_protocol(protocol)
    if init:
        protocol = replace(protocol, init=place_name(init))
    init = init or protocol.init
    if out.exists() and any(out.iterdir()) and not resume:
        raise InputError(f"{out} is not empty; add --resume to go on with it, or name a new folder")
    names, refused = strategies(_with_rule(patterns, rule), protocol)
    if not names:
        raise InputError(f"none of these rows can be trained with {protocol.encoder}: {next(iter(refused.values()))}")
    tested, weights = _begins(protocol, data, init, names)
    labels = labels_digest(data, protocol)
    (out / "results").mkdir(parents=True, exist_ok=True)
    with _alone(out):
        results = read_results(out / "results", protocol)
        check_same(results, out, data, tested, labels, weights)
        if results:  # what was tried counts
            protocol = replace(protocol, learning_rates=results[0].protocol.learning_rates)
        atomic_write(out / "protocol.json", dump_json(encode(protocol)))
        common = {"protocol": protocol, "data": data, "out": out, "init": init, "device": device, "weights": weights}
        for phase in ("select", "final"):
            runs = select_runs(names, protocol) if phase == "select" else []
            if phase == "final":
                runs = final_runs(chosen_rates(names, protocol, results), seeds)
            done = {Run(r.strategy, r.phase, r.seed, r.learning_rate).name for r in results}
            for result in _carry_out([run for run in runs if run.name not in done], jobs, common):
                results.append(result)
                if report is not None:
                    report(results)
    return results, refused


def _with_rule(patterns: str | Sequence[str], rule: str) -> list[str]:
    """The rows' patterns without the rule, with it, or both."""
    check_known("choice for the rule", rule, RULES)
    asked = [p.strip() for p in patterns.split(",")] if isinstance(patterns, str) else list(patterns)
    ruled = [p if RULE in variant(p).terms else _ruled(p) for p in asked]
    return {"off": asked, "on": ruled, "both": [*asked, *ruled]}[rule]


def _ruled(row: str) -> str:
    """The row with the rule, which stands before other terms."""
    named, *terms = row.split("+")
    return "+".join([named, RULE, *terms])


def _begins(protocol: BenchProtocol, data: str, init: str, rows: Sequence[str]) -> tuple[Any, str]:
    """(the images to test on, the digest of `init`'s weights); before anything is trained the error for a split that is
    not there, for weights that cannot be loaded, for factors of losses that no strategy has."""
    have = set().union(*(_losses(row, protocol) for row in rows)) if protocol.auxiliary else set()
    for name in protocol.auxiliary.keys() - have:
        hint = f"--strategies NAME+{name}" if name in TERMS else ""
        raise unknown("auxiliary loss of these strategies", name, have, hint)
    size = protocol.test_size or protocol.base
    tested = _tested(data, protocol.test_split, size, protocol.num_classes, protocol.empty)
    with torch.device("meta"):
        check_task(build(rows[0], protocol, num_classes=tested.num_classes), tested)
    if len(protocol.learning_rates) > 1:
        try:
            parse_spec(data, split=protocol.select_on, num_classes=protocol.num_classes)
        except FusionZooError as error:
            raise InputError(
                f"protocol {protocol.name} chooses the learning rate on the split {protocol.select_on!r}: {error};"
                " --set select_on=SPLIT chooses on another, --set learning_rates=[0.003] takes one without a choice"
            ) from error
    composed, weights = [row for row in rows if not row.startswith(PUBLISHED)], ""
    if init and composed:
        try:
            runs = [Run(row, "final", 0, protocol.learning_rates[0]) for row in composed]
            asked = [run_settings(run, protocol, data, init) for run in runs]
            lent = lender(asked[0])[0]
            if lent is not None and lent.preprocess.x_kind != tested.x_kind:
                raise InputError(f"its x is {lent.preprocess.x_kind}, that of {tested.name} {tested.x_kind}")
            for settings in asked if lent is not None else asked[:1]:  # weights of one encoder fit all or none
                new_model(settings, tested, lent)
            weights = weights_digest(asked[0], lent)
        except InputError as error:
            raise InputError(f"protocol {protocol.name} starts its encoders from {init!r}: {error}") from error
    return tested, weights


def _factors(row: str, protocol: BenchProtocol) -> dict[str, float]:
    """The factor of each term that a row's training has."""
    return {term: getattr(protocol, term) for term in variant(row).terms}


def _losses(row: str, protocol: BenchProtocol) -> set[str]:
    """Names of the auxiliary losses that a row's strategy has."""
    with torch.device("meta"):
        return set(build(row, protocol, num_classes=2).loss_factors)


def train_and_score(
    run: Run, *, protocol: BenchProtocol, data: str, out: Path, init: str = "", device: str | None = None,
    weights: str = "",
) -> RunResult:  # fmt: skip
    """Carries out one run and writes its result; goes on where an earlier one was cut off.

    `weights`: digest of those that `init` names.

    A run whose training diverges leaves a result that says so, without scores: one learning rate too large for one
    strategy must not end a benchmark.
    """
    final, failed = run.phase == "final", ""
    settings = run_settings(run, protocol, data, init)
    folder = out / "runs" / run.name
    split = protocol.test_split if final else protocol.select_on
    size = protocol.test_size or protocol.base
    tested = _tested(data, split, size, protocol.num_classes, protocol.empty)
    like = {"num_classes": tested.num_classes, "x_channels": tested.x_channels}
    ours = functools.partial(build, run.strategy, protocol, **like)
    theirs = functools.partial(build, REFERENCE, protocol, **like)
    found, figures, seconds = {}, {}, 0.0
    try:
        if not (folder / "model.safetensors").is_file() or (folder / "state.pt").is_file():
            finetune(settings, folder, resume=(folder / "state.pt").is_file(), device=device)
            (folder / "finished.pt").unlink(missing_ok=True)  # these runs are never extended
        model, recipe = from_pretrained(folder), read_record(folder).recipe
        seconds = float((recipe.seconds if recipe is not None else None) or 0.0)
        found = score(model, tested, CONDITIONS if final else {"both": CONDITIONS["both"]}, protocol.batch_size)
        images = min(protocol.dissect_images, len(tested)) if final else 0
        figures = dissected(model, tested, images) if images else {}
    except (DivergedError, CheckFailed) as error:
        failed, found, figures = str(error), {}, {}
    timed = final and not failed
    needs = cost(ours, theirs, size, tested.x_channels) if timed else counted(ours, size, tested.x_channels)
    result = RunResult(
        protocol=protocol,
        strategy=run.strategy,
        phase=run.phase,
        seed=run.seed,
        learning_rate=run.learning_rate,
        scores=found,
        **asdict(needs),
        figures=figures,
        seconds=seconds,
        failed=failed,
        task=data_task(tested),
        options={**variant(run.strategy).options, **_factors(run.strategy, protocol)},
        data=tested.name,
        images=len(tested),
        labels=labels_digest(data, protocol),
        weights="" if run.strategy.startswith(PUBLISHED) else weights,
        class_names=list(tested.class_names),
        concepts=dict(getattr(tested, "concepts", {})),
        command=protocol.command(data, run.strategy, run.seed),
        versions={"fusionzoo": __version__, "torch": torch.__version__, "python": sys.version.split()[0]},
        machine={"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads()},
    )
    result.save(out / "results" / f"{run.name}.json")
    return result


@functools.lru_cache(maxsize=1)
def _tested(data: str, split: str, size: tuple[int, int], num_classes: int | None, empty: str) -> Any:
    """The images that one run after another is scored on; drawn scenes are kept, files are read again."""
    options: dict[str, Any] = {"cache": True} if data.partition(":")[0] in GENERATED else {}
    options["empty_depth"] = None if empty == "refuse" else "keep"
    found = parse_spec(data, split=split, size=size, num_classes=num_classes, **options)
    return sorted_out(found, () if empty == "refuse" else without_x(found), empty)[0]


def run_settings(run: Run, protocol: BenchProtocol, data: str, init: str) -> Settings:
    """The protocol's fields that training has under the same name, and what the run makes of the others."""
    final, row = run.phase == "final", variant(run.strategy)
    composed = not run.strategy.startswith(PUBLISHED)
    start = init if composed else ""
    factors = _factors(run.strategy, protocol)
    if protocol.auxiliary:
        own = _losses(run.strategy, protocol)
        factors |= {name: factor for name, factor in protocol.auxiliary.items() if name in own}
    known = {f.name for f in fields(Settings)}
    shared = {f.name: getattr(protocol, f.name) for f in fields(protocol) if f.name in known}
    return Settings(**shared | {
        "model": architecture(run.strategy, protocol),
        "data": data,
        "init": start,
        "decoder_args": protocol.decoder_args if composed else {},
        "train_split": protocol.final_split if final else protocol.select_split,
        "val_split": "",
        "epochs": protocol.epochs if final else protocol.select_epochs or protocol.epochs,
        "seed": run.seed,
        "lr": run.learning_rate,
        "encoder_lr": run.learning_rate * protocol.encoder_lr_share if start else None,
        "auxiliary": factors,
        "fusion_args": row.options,
        "limit": protocol.train_images,
    })  # fmt: skip


def _carry_out(runs: Sequence[Run], jobs: int, common: dict[str, Any]) -> Iterator[RunResult]:
    """Results as they come; `jobs` processes."""
    if jobs == 1:
        for run in runs:
            yield train_and_score(run, **common)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(train_and_score, run, **common) for run in runs]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keeps a second benchmark out of the same folder; the lock goes with the process, however it ends."""
    with open(out / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"{out} is in use by another benchmark that still runs") from error
        yield
