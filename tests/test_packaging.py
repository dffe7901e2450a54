"""What is installed: the list of packages, package data, dependencies, the wheel; and the test-command runner."""

from __future__ import annotations

import ast
import configparser
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
import zipfile
from pathlib import Path

import pytest
import yaml

import fusionzoo
from fusionzoo.errors import FusionZooWarning

ROOT = Path(__file__).resolve().parent.parent
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Import name -> distribution, where they are not the same but for '_' and '-'."""


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def listed(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"[,\n]", text) if part.strip()]


def test_every_package_is_listed(setup):
    """A folder that is not listed is not installed, and nothing says so."""
    on_disk = {
        ".".join(p.parent.relative_to(ROOT).parts)
        for p in (ROOT / "fusionzoo").rglob("__init__.py")
        if "__pycache__" not in p.parts
    }
    packages = listed(setup["options"]["packages"])
    assert set(packages) == on_disk | {"fusionzoo.weights"}
    assert len(packages) == len(set(packages))
    assert listed(setup["options"]["package_dir"]) == ["fusionzoo.weights = weights"]
    assert (ROOT / "weights" / "__init__.py").is_file()


def test_no_folder_with_python_files_lacks_an_init():
    bare = {p.parent for p in (ROOT / "fusionzoo").rglob("*.py") if not (p.parent / "__init__.py").is_file()}
    assert not bare


def test_every_other_file_is_package_data(setup):
    folders = {"fusionzoo.weights": ROOT / "weights"}
    folders |= {p: ROOT.joinpath(*p.split(".")) for p in listed(setup["options"]["packages"]) if p not in folders}
    covered = {
        path
        for package, patterns in setup["options.package_data"].items()
        for pattern in listed(patterns)
        for path in folders[package].glob(pattern)
    }
    files = {p for top in ("fusionzoo", "weights") for p in (ROOT / top).rglob("*") if p.is_file()}
    files = {p for p in files if p.suffix not in (".py", ".pyc") and "__pycache__" not in p.parts}
    files = {p for p in files if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)}
    missing = sorted(str(p.relative_to(ROOT)) for p in files - covered)
    assert not missing, f"not installed: {missing}; add them to package_data in setup.cfg"
    assert ROOT / "fusionzoo" / "py.typed" in covered


@pytest.mark.parametrize("name", ["config.json", "record.json", "README.md", "model.safetensors"])
def test_every_file_of_a_checkpoint_is_package_data(setup, tmp_path, name):
    file = tmp_path / "architecture.tag" / name
    file.parent.mkdir()
    file.touch()
    patterns = listed(setup["options.package_data"]["fusionzoo.weights"])
    assert file in {path for pattern in patterns for path in tmp_path.glob(pattern)}


def test_metadata_has_one_home(project, setup):
    assert "metadata" not in setup and "install_requires" not in setup["options"]
    assert project["dynamic"] == ["version"] and re.fullmatch(r"\d+\.\d+\.\d+", fusionzoo.__version__)
    assert project["license"] == "MIT"
    assert "Copyright (c) 2026 the fusionzoo authors" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert project["scripts"] == {"fusionzoo": "fusionzoo.cli:main"}
    extras = {"report", "train", "encoders", "export", "demo", "lightning", "test"}
    assert set(project["optional-dependencies"]) == extras
    assert project["requires-python"] == ">=3.11"


def third_party(folder: Path) -> set[str]:
    """Distributions that the files under `folder` import, at the top or in functions."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.add(node.module.split(".")[0])
    names -= set(sys.stdlib_module_names) | {"fusionzoo", "tests", "benchmarks"}
    return {DISTRIBUTIONS.get(name, name.replace("_", "-")) for name in names}


def requirements(lines: list[str]) -> set[str]:
    return {re.split(r"[<>=!~ \[]", line)[0] for line in lines}


def test_everything_imported_is_a_dependency(project):
    core, extras = requirements(project["dependencies"]), project["optional-dependencies"]
    declared = core.union(*(requirements(extras[name]) for name in ("report", "train", "export", "demo", "lightning")))
    optional = {"timm"}  # comes with segmentation-models-pytorch, which says so in its own metadata
    assert third_party(ROOT / "fusionzoo") <= declared | optional
    optional |= {"fastapi", "uvicorn"}  # come with gradio, where the demo's page is tested
    optional |= {"captum"}  # compared with where it is installed; it brings matplotlib, which nothing here needs
    assert third_party(ROOT / "tests") <= declared | optional | requirements(extras["test"])


@pytest.mark.slow
def test_the_wheel(tmp_path):
    """Built from a copy: every module and weights file is inside, tests and benchmarks are not."""
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("fusionzoo", "weights"):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("pyproject.toml", "setup.cfg", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source / name)
    (source / "weights" / "made.up").mkdir()
    (source / "weights" / "made.up" / "model.safetensors").write_bytes(b"x")
    build = f"from setuptools import build_meta; print(build_meta.build_wheel({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {str(p.relative_to(ROOT)) for p in (ROOT / "fusionzoo").rglob("*.py")}
    kept = [p for p in (ROOT / "weights").rglob("*") if p.suffix in (".py", ".json", ".md", ".safetensors")]
    wanted |= {f"fusionzoo/{p.relative_to(ROOT)}" for p in kept}
    wanted |= {"fusionzoo/py.typed", "fusionzoo/weights/made.up/model.safetensors"}
    assert wanted <= inside, sorted(wanted - inside)
    strangers = [n for n in inside if not fnmatch.fnmatch(n, "fusionzoo/*") and ".dist-info/" not in n]
    assert not strangers


# The README's test command, and what runs it.


def blocks(readme: str) -> dict[int, str]:
    """{1: ..., 2: ...}: the sh blocks after `<!-- command N -->`."""
    found = re.findall(r"^<!-- command (\d) -->\n+```sh\n(.*?)^```", readme, flags=re.M | re.S)
    return {int(number): text.strip() for number, text in found}


def test_the_readme_has_its_two_commands():
    commands = blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    assert set(commands) == {1, 2}
    assert "pip install" in commands[1] and "fusionzoo check" in commands[1]
    assert "pip install" in commands[2] and "pytest" in commands[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "lint", "status", "says"),
    [
        ("python -c 'import sys; print(sys.prefix)'\npip --version", 0, 0, "pip"),
        ("echo before\nfalse\necho after", 3, 1, "before"),
        ("python -c 'import sys; print(sys.prefix)'\npip --version", 3, 3, "pip"),
        (None, 0, 2, "has no ```sh block"),
    ],
)
def test_the_runner(tmp_path, command, lint, status, says):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / ".ci" / "lint").write_text(f"#!/bin/sh\npython -c 'import sys; print(sys.prefix)'\nexit {lint}\n")
    (tmp_path / ".ci" / "lint").chmod(0o755)
    readme = "# x\n\n```sh\nexit 9\n```\n\n<!-- command 1 -->\n```sh\nexit 8\n```\n"
    if command is not None:
        readme += f"\n<!-- command 2 -->\n```sh\n{command}\n```\n\n```sh\nexit 7\n```\n"
    (tmp_path / "README.md").write_text(readme, encoding="utf-8")
    (tmp_path / "scratch").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch"), "PYTHON": sys.executable}
    done = subprocess.run(
        [tmp_path / ".ci" / "run"], cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert says in done.stdout + done.stderr and "after\n" not in done.stdout.replace(command or "", "")
    if status != 2:
        prefix = done.stdout.splitlines()[-1]  # of the lint, in the environment of the tests
        assert prefix.startswith(str(tmp_path / "scratch")) and not Path(prefix).exists()
        assert (prefix in done.stdout.splitlines()[:-1]) == (says == "pip")
    assert not list((tmp_path / "scratch").iterdir())


def test_the_linter_runs_all_three(tmp_path):
    """With stand-ins on the path, each of which fails in turn."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "lint", tmp_path / ".ci" / "lint")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("ruff", "mypy"):
        (tools / tool).write_text(f'#!/bin/sh\necho "{tool} $*"\n[ "{tool} $1" != "$FAILS" ]\n')
        (tools / tool).chmod(0o755)
    for fails in ("nothing", "ruff check", "ruff format", "mypy "):
        environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "FAILS": fails}
        done = subprocess.run([tmp_path / ".ci" / "lint"], cwd="/", env=environment, capture_output=True, text=True)
        assert done.returncode == (fails != "nothing")
        assert done.stdout.splitlines() == ["ruff check .", "ruff format --check .", "mypy "]


# Warnings: ours are errors, a dependency's own are not.


@pytest.mark.parametrize(
    ("message", "category", "module", "is_error"),
    [
        ("old call", DeprecationWarning, "fusionzoo.models.stages", True),
        ("old call", FutureWarning, "fusionzoo", True),
        ("odd input", FusionZooWarning, "tests.train.test_loop", True),
        ("odd input", UserWarning, "tests.train.test_loop", False),  # torch speaks so of our tests
        ("x has moved: import it from y", FutureWarning, "somebody", True),
        ("old call", DeprecationWarning, "torch.nn.functional", False),
        ("old call", FutureWarning, "tests.metrics.test_units", False),
        ("odd input", UserWarning, "fusionzoology", False),
    ],
)
def test_which_warnings_are_errors(message, category, module, is_error):
    with pytest.raises(category) if is_error else warnings.catch_warnings(record=True):  # pytest.warns has no filters
        warnings.warn_explicit(message, category, "file.py", 1, module=module)


# Versions, and what stands in .github.


def test_the_oldest_versions_are_the_bounds(project):
    """`tests/oldest.txt` pins what `pyproject.toml` states, no more and no less."""
    stated = project["dependencies"] + project["optional-dependencies"]["test"]
    bounds = dict(re.fullmatch(r"([a-z0-9-]+)>=([0-9.]+)", line).groups() for line in stated if ">=" in line)
    lines = (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pinned.keys() == bounds.keys()
    for name, bound in bounds.items():
        assert pinned[name] == bound or pinned[name].startswith(f"{bound}."), name


def test_workflows_have_few_rights_and_pinned_actions():
    (path,) = (ROOT / ".github" / "workflows").iterdir()
    text = path.read_text(encoding="utf-8")
    flow = yaml.safe_load(text)
    jobs = flow["jobs"]
    assert flow["permissions"] == {"contents": "read"} and not any("permissions" in job for job in jobs.values())
    used = re.findall(r"uses: (.*)", text)
    assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[0-9.]+", line) for line in used)
    assert {"pytest -n 2 --dist loadfile", ".ci/lint"} <= {
        step.get("run") for job in jobs.values() for step in job["steps"]
    }
    rows = jobs["tests"]["strategy"]["matrix"]["include"]
    assert any("-c tests/oldest.txt" in row["install"] for row in rows)
    # what the newest versions are tested with, ONNX too, is what the README's command installs
    readme = blocks((ROOT / "README.md").read_text(encoding="utf-8"))[2]
    newest = {row["install"] for row in rows if row["versions"] == "newest"}
    assert newest == {'-e ".[test,report,export]"'} and readme.startswith(f"pip install {min(newest)} && pytest")


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / ".github" / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == fusionzoo.__version__ and cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= cited.keys()


@pytest.mark.parametrize("name", ["README.md", ".github/CONTRIBUTING.md"])
def test_what_a_page_names_is_there(name):
    """Links to files, and rooms and files written as code."""
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert not [link for link in links if not (ROOT / name).parent.joinpath(link).exists()]
    if "CONTRIBUTING" in name:
        named = re.findall(r"`((?:[a-z_]+/)+(?:[a-z_]+\.[a-z]+)?)`", text)
        roots = (ROOT, ROOT / "fusionzoo")
        assert len(named) > 15 and not [path for path in named if not any((r / path).exists() for r in roots)]
