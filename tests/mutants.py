"""Breaks the code on purpose, one line at a time: the test that is named must notice. Not part of the default run.

    python tests/mutants.py              every mutation (minutes), a table, and the count; exit status 1 if one survives
    python tests/mutants.py hybrid cka   those whose file, text or test holds one of the words
    python tests/mutants.py --check      only: every text stands in its file exactly once (a second)
    python tests/mutants.py --list

Each test passes on the code as it is, checked first. A mutation is caught when the broken module still imports and an
assertion of that test fails (an exception from elsewhere is not enough). It happens in copies of the tree, in a
process that is forked after torch was imported. When you change a line that stands here, change it here too.
"""

from __future__ import annotations

import argparse
import compileall
import importlib
import importlib.util
import json
import os
import py_compile
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("fusion", "models", "data", "metrics", "dissect", "report", "hub", "train", "bench", "export")
"""Each has its list in `tests/mutations`: (test, file, [(text, what is put for it), ...])."""
PRELOAD = (
    "numpy", "scipy.stats", "sklearn.linear_model", "torch", "torchvision", "timm", "segmentation_models_pytorch",
    "torchmetrics", "h5py", "hypothesis", "huggingface_hub", "safetensors.torch", "PIL.Image", "click", "yaml",
    "pytest",
)  # fmt: skip
LIMIT = 300
"""Seconds that one test may take."""


@dataclass(frozen=True)
class Mutant:
    """`old` of `file` becomes `new`; `test` must fail."""

    file: str
    old: str
    new: str
    test: str


def mutants(words: Sequence[str] = ()) -> list[Mutant]:
    """All of them, or those whose file, texts or test hold one of `words`."""
    every = []
    for room in ROOMS:
        spec = importlib.util.spec_from_file_location(f"mutations_{room}", ROOT / "tests" / "mutations" / f"{room}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        every += [Mutant(file, old, new, test) for test, file, changes in module.MUTANTS for old, new in changes]
    return [m for m in every if not words or any(w in f"{m.file}\n{m.test}\n{m.old}\n{m.new}" for w in words)]


def misplaced(chosen: Iterable[Mutant]) -> Iterator[str]:
    """One line for each that cannot be applied: its text must stand in its file exactly once."""
    for m in chosen:
        path, test = ROOT / m.file, ROOT / m.test.partition("::")[0]
        count = path.read_text(encoding="utf-8").count(m.old) if path.is_file() else -1
        if count != 1:
            where = "there is no such file" if count < 0 else f"the text stands there {count} times"
            yield f"{m.file}: {where}: {short(m.old)}"
        name = m.test.rpartition("::")[2].partition("[")[0]
        if not test.is_file() or ("::" in m.test and f"def {name}(" not in test.read_text(encoding="utf-8")):
            yield f"{m.test}: there is no such test"


def short(text: str, most: int = 60) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 3] + "..."


def copy_tree(place: Path) -> Path:
    """A copy of the sources in `place`, compiled; what is large or shared is linked."""
    tree = place / "tree"
    names = ["fusionzoo", "tests", "benchmarks", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", ".ci"]
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            tree.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, tree / name)
    (tree / "weights").symlink_to(ROOT / "weights")
    if (ROOT.parent / "shared").is_dir():
        (place / "shared").symlink_to(ROOT.parent / "shared")
    # cached by content, not by time: a mutation is never overlooked
    mode = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(tree / "fusionzoo", quiet=2, invalidation_mode=mode)
    return tree


class Recorder:
    """A pytest plugin: what passed, and how the first failure came about."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {"passed": 0, "skipped": 0, "failed": "", "kind": "", "said": ""}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.skipped:
            self.found["skipped"] += 1
        elif report.passed and report.when == "call":
            self.found["passed"] += 1

    def pytest_exception_interact(self, node: Any, call: Any, report: Any) -> None:
        if not self.found["failed"]:
            error = call.excinfo.value
            self.found |= {"failed": getattr(node, "nodeid", "?"), "kind": type(error).__name__}
            self.found["said"] = str(error)[:400]
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            fine = isinstance(error, AssertionError) or type(error).__name__ == "Failed"  # "DID NOT RAISE"
            self.found["assertion"] = fine and getattr(report, "when", "collect") == "call"


def child(tree: Path, test: str, module: str, answer: Path) -> None:
    """Runs one test in `tree` and writes down what came of it. In a forked process, which ends here."""
    signal.alarm(LIMIT)
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(tree)}
    os.chdir(tree)
    sys.path[:] = [str(tree), *(p for p in sys.path if Path(p or ".").resolve() not in (ROOT, ROOT / "tests"))]
    sink = os.open(answer.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    recorder = Recorder()
    try:
        if module:
            importlib.import_module(module)
    except BaseException as error:
        recorder.found |= {"kind": type(error).__name__, "said": str(error)[:400], "broken": True}
    else:
        import pytest

        options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", f"--rootdir={tree}", "-c", f"{tree}/setup.cfg"]
        pytest.main([*options, test], plugins=[recorder])
    answer.write_text(json.dumps(recorder.found), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)


class Runner:
    """Forks one process a test, at most `jobs` at a time, each in its own copy of the tree."""

    def __init__(self, place: Path, jobs: int) -> None:
        self.trees = [copy_tree(place / str(i)) for i in range(jobs)]
        self.free = list(self.trees)
        self.whole: dict[Path, str] = {}
        self.running: dict[int, tuple[Path, str, Mutant | None, float]] = {}

    def start(self, test: str, mutant: Mutant | None) -> None:
        tree = self.free.pop()
        module = ""
        if mutant is not None:
            path = tree / mutant.file
            self.whole[tree] = text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
            if path.suffix == ".py":
                module = mutant.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        answer = tree.parent / "answer.json"
        answer.unlink(missing_ok=True)
        sys.stdout.flush()
        process = os.fork()
        if process == 0:
            try:
                child(tree, test, module, answer)
            finally:
                os._exit(1)
        self.running[process] = tree, test, mutant, time.monotonic()

    def wait(self) -> tuple[str, Mutant | None, dict[str, Any]]:
        """What came of the next one that ends."""
        process, _ = os.wait()
        tree, test, mutant, began = self.running.pop(process)
        if mutant is not None:
            (tree / mutant.file).write_text(self.whole[tree], encoding="utf-8")
        answer = tree.parent / "answer.json"
        found = json.loads(answer.read_text(encoding="utf-8")) if answer.is_file() else {"kind": f"over {LIMIT} s"}
        self.free.append(tree)
        return test, mutant, {**found, "seconds": time.monotonic() - began}

    def each(self, work: Iterable[tuple[str, Mutant | None]]) -> Iterator[tuple[str, Mutant | None, dict[str, Any]]]:
        for test, mutant in work:
            if not self.free:
                yield self.wait()
            self.start(test, mutant)
        while self.running:
            yield self.wait()


def unusable(found: dict[str, Any]) -> str | None:
    """Why a test says nothing: it does not pass on the code as it is."""
    if found.get("skipped"):
        return "skipped here"
    return None if found.get("passed") and not found.get("failed") else f"{found.get('kind')} {found.get('said', '')}"


def verdict(found: dict[str, Any]) -> str:
    if found.get("broken"):
        return "does not import"
    if found.get("assertion"):
        return "caught"
    return "survives" if not found.get("kind") else "no assertion"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--json", help="write what came of each to this file")
    given = parser.parse_args()
    chosen = mutants(given.words)
    if given.list:
        for m in chosen:
            print(f"{m.file}: {short(m.old)} -> {short(m.new)}\n    {m.test}")
    wrong = list(misplaced(chosen))
    for line in wrong:
        print(line)
    print(f"{len(chosen)} mutations of {len({m.file for m in chosen})} files, {len(wrong)} that cannot be made")
    if wrong or given.check or given.list or not chosen:
        return int(bool(wrong) or not chosen)

    os.environ["OMP_NUM_THREADS"] = "1"  # a process with running threads must not be forked
    for name in PRELOAD:
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="mutants-") as place:
        runner = Runner(Path(place), max(1, given.jobs))
        tests = list(dict.fromkeys(m.test for m in chosen))
        work = [(test, m) for test in tests for m in (None, *(m for m in chosen if m.test == test))]
        plain: dict[str, dict[str, Any]] = {}
        results: list[dict[str, Any]] = []
        for test, mutant, found in runner.each(work):
            if mutant is None:
                plain[test] = found
                if (why := unusable(found)) is not None:
                    print(f"{test}\n    is no test of the code as it is: {short(why, 200)}", flush=True)
                continue
            results.append({"mutant": vars(mutant), **found})
            word, told = verdict(found), short(found.get("failed") or test, 110)
            print(f"{word:<15} {found['seconds']:4.0f} s  {mutant.file}: {short(mutant.old)} -> {short(mutant.new)}")
            more = "" if word == "caught" else f"  {short(found.get('said', ''), 90)}"
            print(f"{'':<23} {told}{more}", flush=True)
    results = [r for r in results if unusable(plain[r["mutant"]["test"]]) is None]
    if given.json:
        Path(given.json).write_text(json.dumps(results, indent=1), encoding="utf-8")
    caught = sum(verdict(r) == "caught" for r in results)
    untried = f", {len(chosen) - len(results)} not tried" if len(results) < len(chosen) else ""
    print(f"{caught} of {len(chosen)} caught{untried}")
    return int(caught < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
