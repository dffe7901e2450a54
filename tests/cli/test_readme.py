"""What the README shows works, and what is generated in it is fresh."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from fusionzoo.cli import group, main
from fusionzoo.cli.make_readme import fresh
from fusionzoo.hub import records


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def block(text: str, mark: str, language: str) -> str:
    found = re.search(rf"^<!-- {mark} -->\n```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no {language} block after <!-- {mark} -->"
    return found.group(1)


def execute(code: str, root: Path, folder: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", code],
        text=True, capture_output=True, timeout=300, check=False, env=env, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_two_commands(text: str) -> None:
    first, second = block(text, "command 1", "sh"), block(text, "command 2", "sh")
    assert first.startswith("pip install . && fusionzoo check ") and first.count("\n") == 1
    assert second.endswith("&& pytest -n 2 --dist loadfile\n") and second.count("\n") == 1
    assert text.index("command 1") < text.index("command 2") < text.index("example: use")


def test_the_example_runs(text: str, root: Path, checkpoint: Path, tmp_path: Path) -> None:
    code = block(text, "example: use", "python")
    assert len(code.splitlines()) <= 12
    (name,) = re.findall(r'from_pretrained\("([^"]+)"\)', code)
    if name not in records.bundled():  # the same lines with another checkpoint of the same classes
        code = code.replace(name, str(checkpoint))
    shapes, scores = execute(code, root, tmp_path).strip().splitlines()
    stages = re.findall(r"'stage(\d)\.fusion\.fused': \(1, \d+, \d+, \d+\)", shapes)
    assert stages == ["2", "3", "4", "5"], "an FPN reads the last four levels"
    assert all(0 <= float(v) <= 1 for v in scores.split())


def test_the_strategy_example_runs(text: str, root: Path, tmp_path: Path) -> None:
    code = block(text, "example: strategy", "python")
    check = (
        "\nassert logits.shape == (1, 13, 120, 160)"
        "\nassert 'weighted_sum' in fusionzoo.list_fusions()"
        "\nwith fusionzoo.probe(model, 'stage3.fusion.share') as tape: model(torch.randn(1, 3, 64, 64), None)"
        "\nassert (tape['stage3.fusion.share'] == 0.5).all()"
        "\nlogits.mean().backward(); assert all(p.grad is not None for p in model.parameters())"
    )
    execute(code + check, root, tmp_path)


def test_the_example_of_an_own_network_runs(text: str, root: Path, tmp_path: Path) -> None:
    check = (
        "\nassert 0 <= dissection.segmentation['both'].miou <= 1"
        "\nassert {r.point for r in trace.rows} >= {'network.colour.1', 'network.depth.1'}"
        "\nassert fusionzoo.robustness(model, scenes, progress=False)"
        "\nassert fusionzoo.export(model, 'own.pt2', size=(120, 160)).comparison.same_class == 1"
        "\nfrom fusionzoo.errors import InputError"
        "\ntry: model.save_pretrained('own')"
        "\nexcept InputError as error: print(error)"
    )
    out = execute(block(text, "example: own", "python") + check, root, tmp_path)
    assert out.startswith("own is made with 'network', a Network, which no config.json holds: ")
    assert not (tmp_path / "own").exists()


def test_the_table_is_fresh(text: str) -> None:
    assert text == fresh(text), "stale: run python -m fusionzoo.cli.make_readme README.md"
    for name in records.bundled():
        assert f"| {name} |" in text


def test_the_command_lines_name_real_commands_and_options(text: str) -> None:
    (shell,) = re.findall(r"^## Command line\n\n```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    used = []
    for line in shell.splitlines():
        words = line.split("#")[0].split()
        command = main.get_command(click.Context(main), words[1])
        assert words[0] == "fusionzoo" and command is not None, line
        known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        assert {w for w in words[2:] if w.startswith("-")} <= known, line
        used.append(words[1])
    assert used == list(group.COMMANDS)
