"""Who may import whom (DESIGN.md section 2), read from every file; and what importing loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fusionzoo

PACKAGE = Path(fusionzoo.__file__).parent

ALLOWED: dict[str, set[str]] = {
    "cli": {
        "bench",
        "demo",
        "export",
        "_check",
        "_explain",
        "_predict",
        "report",
        "dissect",
        "train",
        "hub",
        "data",
        "models",
    },  # fmt: skip
    "_predict": {"hub", "models", "data", "report", "preprocess"},
    "_explain": {"_predict", "dissect", "data", "models", "report"},
    "demo": {"_explain", "_predict", "data", "hub", "report"},
    "_check": {"hub", "dissect", "data", "models"},
    "bench": {"hub", "dissect", "train", "data", "models", "metrics", "report", "files", "schema"},
    "export": {"_check", "hub", "models", "data", "metrics", "probes", "preprocess"},
    "dissect": {"models", "probes", "metrics", "data", "preprocess"},
    "report": {"dissect", "metrics", "hub"},
    "train": {"models", "probes", "metrics", "data", "hub", "preprocess"},
    "hub": {"models", "fusion", "probes", "registry", "preprocess"},
    "models": {"fusion", "probes", "registry", "preprocess"},
    "fusion": {"probes", "registry"},
    "data": {"preprocess"},
    "metrics": set(),
    "probes": set(),
    "registry": set(),
    "preprocess": set(),
    "schema": set(),
    "tasks": set(),
    "modalities": set(),
    "packages": set(),
    "files": set(),
    "errors": set(),
}
"""Room -> rooms it may import. Beside these, every room may import the ground floor and the version."""

GROUND = {"errors", "files", "modalities", "packages", "schema", "tasks"}

HOMES = {**fusionzoo._HOMES, "dissect": "fusionzoo.dissect", "bench": "fusionzoo.bench", "export": "fusionzoo.export"}


def imported(source: str, module: str, is_package: bool) -> set[str]:
    """Names under `fusionzoo` that `source` imports anywhere: at the top, in functions, by importlib, relatively."""
    found: set[str] = set()
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                found.add(HOMES.get(alias.name, name) if base == "fusionzoo" else name)
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__"):
                found |= {a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return {name for name in found if name == "fusionzoo" or name.startswith("fusionzoo.")}


def breaches(room: str, names: set[str]) -> list[str]:
    """What of `names` a file of `room` may not import."""
    bad = []
    for name in sorted(names - {"fusionzoo.__version__"}):
        other = name.split(".")[1] if "." in name else "the whole package"
        allowed = other in ALLOWED[room] | {room} | GROUND
        if room == "report" and other == "dissect":  # the result types only, not the engine
            kinds = ("results", "effects", "measures", "conditions", "words")
            allowed = name.split(".")[2:3] and name.split(".")[2] in kinds
        if not allowed:
            bad.append(name)
    return bad


def files() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_import_rules(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    room = parts[0]
    assert room in ALLOWED, f"a new room {room!r}: give it a line in DESIGN.md section 2 and here"
    is_package = parts[-1] == "__init__"
    module = ".".join(["fusionzoo", *(parts[:-1] if is_package else parts)])
    source = path.read_text(encoding="utf-8")
    bad = breaches(room, imported(source, module, is_package))
    assert not bad, f"{room} may not import {', '.join(bad)}"
    assert not private(source), f"{module} imports {', '.join(private(source))}: give it a public name"


def private(source: str) -> list[str]:
    """Underscored names of ours that `source` imports from another file; an underscored file is no such name."""
    lines = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom))
    names = [
        (n.module or "", a.name) for n in lines if n.level or (n.module or "").startswith("fusionzoo") for a in n.names
    ]
    return [f"{m}.{a}" for m, a in names if a.startswith("_") and not a.startswith("__") and not is_file(f"{m}.{a}")]


def is_file(module: str) -> bool:
    return (PACKAGE.parent / (module.replace(".", "/") + ".py")).is_file()


def test_einops_is_a_dependency_that_is_used():
    """It names the axes where heads, windows, patches and tokens are laid out: `fusion/` and `models/` alone."""
    users = {p.relative_to(PACKAGE).parts[0] for p in files() if "from einops import" in p.read_text(encoding="utf-8")}
    assert users == {"fusion", "models"}


def test_the_reader_finds_every_spelling():
    source = """
import fusionzoo.models.base, torch
from fusionzoo import create_model, dissect, __version__
from fusionzoo.data import planted
from . import sibling
from .. import cli
from ..hub.layout import load
def later():
    import importlib
    importlib.import_module("fusionzoo._check")
    from fusionzoo.train import loop
"""
    assert imported(source, "fusionzoo.metrics.cka", False) == {
        "fusionzoo.models.base",
        "fusionzoo.models",
        "fusionzoo.dissect",
        "fusionzoo.__version__",
        "fusionzoo.data.planted",
        "fusionzoo.metrics.sibling",
        "fusionzoo.cli",
        "fusionzoo.hub.layout.load",
        "fusionzoo._check",
        "fusionzoo.train.loop",
    }


@pytest.mark.parametrize(
    ("room", "name"),
    [
        ("metrics", "fusionzoo.models"),
        ("fusion", "fusionzoo.models.base"),
        ("models", "fusionzoo.data"),
        ("data", "fusionzoo.models"),
        ("_check", "fusionzoo.cli"),
        ("report", "fusionzoo.dissect.run"),
        ("report", "fusionzoo.dissect"),
        ("hub", "fusionzoo"),
    ],
)
def test_the_rules_refuse_what_must_never_be(room, name):
    assert breaches(room, {name}) == [name]
    ground = {"fusionzoo.errors.InputError", "fusionzoo.files.read_json", "fusionzoo.schema.decode"}
    assert breaches(room, {*ground, f"fusionzoo.{room}.other", "fusionzoo.__version__"}) == []


def test_dissect_has_few_files_on_few_floors():
    room = PACKAGE / "dissect"
    assert len(list(room.glob("*.py"))) <= 15
    uses: dict[str, set[str]] = {}
    for path in room.rglob("*.py"):
        unit = path.relative_to(room).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fusionzoo.dissect."):
                uses.setdefault(unit, set()).add(str(node.module).split(".")[2])
    uses.pop("__init__")
    floors: list[set[str]] = []
    left = set(uses).union(*uses.values())
    while left:
        floors.append({u for u in left if not (uses.get(u, set()) - {u}) & left})
        assert floors[-1], f"these import each other: {sorted(left)}"
        left -= floors[-1]
    assert len(floors) <= 6, floors


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stdout + done.stderr


def test_import_loads_no_torch_and_no_room():
    run(
        "import sys, fusionzoo\n"
        "loaded = [m for m in sys.modules if m.split('.')[0] in ('torch', 'numpy') or m.startswith('fusionzoo.')]\n"
        "assert not loaded, loaded\n"
        "assert fusionzoo.__version__ and 'create_model' in dir(fusionzoo)\n"
    )


def test_help_of_every_command_loads_no_torch():
    run(
        "import sys, click\n"
        "from fusionzoo.cli import main\n"
        "names = main.list_commands(click.Context(main))\n"
        "assert {'list', 'info', 'check', 'predict', 'finetune', 'convert'} <= set(names), names\n"
        "for args in [['--help'], ['--version'], *([name, '--help'] for name in names)]:\n"
        "    try:\n"
        "        main(args)\n"
        "    except SystemExit as done:\n"
        "        assert not done.code, (args, done.code)\n"
        "    assert 'torch' not in sys.modules, args\n"
    )
