"""The command group itself: help without torch, typing mistakes, one line for each error, exit statuses."""

from __future__ import annotations

import ast
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fusionzoo import __version__
from fusionzoo.cli import group, main
from fusionzoo.errors import CheckFailed, InputError, UnknownNameError

RUN = [sys.executable, "-c", "from fusionzoo.cli import main; main()"]


def run(
    *args: str, root: Path, env: dict[str, str] | None = None, **options: object
) -> subprocess.CompletedProcess[str]:
    full = {**os.environ, "PYTHONPATH": str(root), **(env or {})}
    done: subprocess.CompletedProcess[str] = subprocess.run(  # type: ignore[call-overload]
        [*RUN, *args], text=True, capture_output=True, timeout=120, check=False, env=full, **options
    )
    return done


@pytest.mark.parametrize("args", [["--help"], *([name, "--help"] for name in group.COMMANDS), ["--version"]])
def test_help_imports_no_torch(args: list[str], root: Path) -> None:
    code = (
        "import sys\nfrom fusionzoo.cli import main\ntry: main(" + repr(args) + ")\n"
        "except SystemExit as e: assert e.code == 0, e.code\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'PIL', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], text=True, capture_output=True, timeout=60, check=False, cwd=root
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("fusionzoo " + __version__ if args == ["--version"] else "Usage: fusionzoo")


@pytest.mark.parametrize("name", group.COMMANDS)
def test_overview_and_command_agree(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None and command.name == name
    assert (command.help or "").split("\n\n")[0] == group.COMMANDS[name]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["chekc"], "unknown command 'chekc'; did you mean 'check'? (see: fusionzoo --help)"),
        (["xyzzy"], "unknown command 'xyzzy'; known: list, info"),
        (["list", "--fusion"], "No such option '--fusion'"),
        (["info"], "Missing argument 'NAME' (see: fusionzoo info --help)"),
        (["list", "--fusions", "--architectures"], "give one of --fusions, --architectures and --data"),
        (["info", "hybird"], "did you mean 'hybrid'"),
        (["list", "nothing*"], "no checkpoint matches 'nothing*'"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(args: list[str], words: str) -> None:
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.startswith("fusionzoo: error: ") and result.stderr.count("\n") == 1
    assert words in result.stderr


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("a\nb\x1b[31m"), 2, "fusionzoo: error: a b [31m"),
        (UnknownNameError("no 'x'"), 2, "fusionzoo: error: no 'x'"),
        (CheckFailed("bad hash"), 1, "fusionzoo: error: bad hash"),
        (OSError(errno.ENOSPC, "No space left", "/a/b"), 2, "fusionzoo: error: No space left: /a/b"),
        (PermissionError(errno.EACCES, "Permission denied", "f"), 2, "fusionzoo: error: Permission denied: f"),
        (MemoryError(), 2, "fusionzoo: error: out of memory; a smaller --batch-size or --limit may help"),
        (KeyboardInterrupt(), 130, "fusionzoo: error: interrupted"),
        (click.Abort(), 130, "fusionzoo: error: interrupted"),
        (RuntimeError("x"), 3, "fusionzoo: error: a defect of fusionzoo: RuntimeError: x (FUSIONZOO_DEBUG=1 shows"),
    ],
)  # fmt: skip
def test_errors_become_one_line(error: BaseException, status: int, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr("fusionzoo.cli.info.look_up", fail)
    result = CliRunner().invoke(main, ["info", "concat"])
    assert result.exit_code == status
    assert result.stderr.strip().splitlines()[-1].startswith(line)
    assert len(result.stderr.strip().splitlines()) == 1 and "Traceback" not in result.stderr
    monkeypatch.setenv("FUSIONZOO_DEBUG", "1")
    debug = CliRunner().invoke(main, ["info", "concat"])
    assert debug.exit_code == status and "Traceback" in debug.stderr


def test_a_reader_that_leaves_early_is_no_failed_check(root: Path) -> None:
    code = "yes = __import__('fusionzoo.cli', fromlist=['main']).main"
    shell = f'{sys.executable} -c "{code}; yes()" list --architectures | head -n 1; echo "${{PIPESTATUS[0]}}"'
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(["bash", "-c", shell], text=True, capture_output=True, timeout=60, check=False, env=env)
    assert done.stdout.splitlines()[-1] in ("141", "0"), done  # 0 when everything fitted into the pipe in time
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_behind_stdout(root: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*RUN, "list", "--fusions"],
            text=True, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False,
            env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "fusionzoo: error: No space left on device\n"


@pytest.mark.parametrize("args", [["list", "--json"], ["list", "--fusions"], ["info", "hybrid_mobilenetv1-025_fpn"]])
def test_list_and_info_are_fast_and_need_no_torch(args: list[str], root: Path) -> None:
    code = (
        "import sys\nfrom fusionzoo.cli import main\ntry: main(" + repr(args) + ")\n"
        "except SystemExit as e: status = e.code\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\nsys.exit(status)"
    )
    command = [sys.executable, "-c", code]
    times = []
    for _ in range(3):  # processor time, the best of three: the machine may be busy with other work
        start = os.times()
        done = subprocess.run(command, text=True, capture_output=True, timeout=60, check=False, cwd=root)
        end = os.times()
        times.append(end.children_user + end.children_system - start.children_user - start.children_system)
        assert done.returncode == 0, done.stderr
    assert min(times) < 0.5, times
    if "--json" in args:
        json.loads(done.stdout)


def test_output_survives_a_terminal_without_unicode(root: Path) -> None:
    done = run("info", "se_add_uni_rgb", root=root, env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0 and done.stdout.isascii()


def test_options_that_messages_name_exist(root: Path) -> None:
    """Every `--option` in a text of the package is one of some command."""
    known = {"--help", "--version"}
    for name in group.COMMANDS:
        found = main.get_command(click.Context(main), name)
        assert found is not None
        known |= {text for p in found.params for text in [*p.opts, *p.secondary_opts] if text.startswith("--")}
    named: dict[str, str] = {}
    for path in sorted((root / "fusionzoo").rglob("*.py")):
        if "report" in path.parts or path.name.startswith("make_"):  # CSS variables; scripts of our own
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if "\n\n" not in text:  # no docstring of several paragraphs, with its diagrams
                named |= dict.fromkeys(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![\w-])", text), path.name)
    assert {text: place for text, place in named.items() if text not in known} == {}
