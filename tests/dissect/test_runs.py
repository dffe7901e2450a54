"""Runs as they happen: several processes under torchrun, a process killed by the system, mixed precision."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fusionzoo.dissect import dissect
from fusionzoo.dissect.results import Dissection
from tests.compare import close
from tests.dissect.job import SIZE, data
from tests.dissect.test_engine import blurred, plain
from tests.dissect.toy import Toy

ROOT = Path(__file__).parents[2]
JOB = Path(__file__).with_name("job.py")
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def whole(n):
    return plain(dissect(Toy(), data(n), progress=False, batch_size=SIZE))


def numbers(value):
    """How many numbers a result holds."""
    if isinstance(value, dict):
        return sum(map(numbers, value.values()))
    return sum(map(numbers, value)) if isinstance(value, list) else isinstance(value, float)


@pytest.mark.slow
@pytest.mark.parametrize("n", [37, 4])  # 4: one batch, so that one process has nothing to do
def test_two_processes_under_torchrun_give_the_numbers_of_one(tmp_path, n):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", JOB, tmp_path, n]
    ran = subprocess.run(list(map(str, launch)), env=ENV, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    first, second = (plain(Dissection.load(tmp_path / f"{rank}.json")) for rank in (0, 1))
    assert first == second
    one = whole(n)
    assert all(first["results"][k] == one["results"][k] for k in ("segmentation", "contribution"))  # from counts
    assert close(first, one) and numbers(first) > 150
    assert first["results"]["similarity"]["stages"][0]["pairs"]["rgb_x"]["gap"]["n"] == n  # no image twice
    read = [int((tmp_path / f"{rank}.read").read_text()) for rank in (0, 1)]
    assert max(read) < 0.6 * sum(read) if n == 37 else min(read) == 1


def wait_for(done, process, seconds=120):
    end = time.monotonic() + seconds
    while not done():
        assert process.poll() is None, "the job ended before it could be killed"
        assert time.monotonic() < end, "the job does not get on"
        time.sleep(0.005)


def passes_saved(state):
    """(pass, batches) of the saved state."""
    from safetensors import SafetensorError, safe_open

    if not state.exists():
        return (0, 0)
    try:
        with safe_open(state, "pt") as file:
            note = file.metadata()
    except (SafetensorError, OSError):
        return (0, 0)
    return int(note["pass"]), int(note["batches"])


@pytest.mark.slow
@pytest.mark.parametrize("least", [(0, 3), (2, 1)])
def test_a_run_killed_by_the_system_goes_on_to_the_same_numbers(tmp_path, least):
    n = 20
    command = [sys.executable, str(JOB), str(tmp_path), str(n)]
    process = subprocess.Popen([*command, "0.02"], env=ENV, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: passes_saved(tmp_path / "state") >= least, process)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    finally:
        process.kill()
    saved = passes_saved(tmp_path / "state")
    assert saved >= least and not (tmp_path / "0.json").exists()
    ran = subprocess.run(command, env=ENV, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert plain(Dissection.load(tmp_path / "0.json")) == whole(n)
    passes, batch = (n + n // SIZE, n // 2, n), (SIZE + 1, SIZE, SIZE)
    rest = sum(passes) - sum(passes[: saved[0]]) - saved[1] * batch[saved[0]]
    assert int((tmp_path / "0.read").read_text()) == 1 + rest  # and one to learn shapes


def test_autocast_changes_features_only_by_their_rounding():
    """Sums are float64 whatever the features are: rounded ones give what they give when made wide first."""
    torch.manual_seed(0)
    images = blurred(12)
    exact = dissect(Mixed(), images, progress=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = dissect(Mixed(), images, progress=False)
    assert Mixed.seen == {torch.float32, torch.bfloat16}
    for a, b in zip(exact.rows, found.rows, strict=True):
        assert b.similarity.cka.pix.unbiased == pytest.approx(a.similarity.cka.pix.unbiased, abs=0.02)
        assert b.similarity.commonality["pix"].unique_rgb.value == pytest.approx(
            a.similarity.commonality["pix"].unique_rgb.value, abs=0.02
        )
        assert close(a.concepts.iou, b.concepts.iou, 0.05)
    assert found.contribution.shapley["rgb"].miou == pytest.approx(exact.contribution.shapley["rgb"].miou, abs=0.02)
    # the moments themselves carry no further rounding: those of the same rounded features, in double precision
    rounded = dissect(Rounded(), images, metrics=["similarity"], progress=False).rows[0].similarity
    for pair, views in rounded.pairs.items():
        for view, want in views.items():
            assert found.rows[0].similarity.pairs[pair][view].cka.value == pytest.approx(want.cka.value, abs=1e-6)


class Mixed(Toy):
    """The toy with a convolution before its streams, which autocast runs in bfloat16."""

    seen: set[torch.dtype] = set()

    def scores(self, rgb, x):
        one = torch.nn.functional.conv2d(rgb, torch.eye(3)[:, :, None, None])
        two = torch.nn.functional.conv2d(x, torch.ones(1, 1, 1, 1))
        Mixed.seen.add(one.dtype)
        return super().scores(one, two)


class Rounded(Toy):
    """The same rounding without autocast."""

    def scores(self, rgb, x):
        return super().scores(rgb.bfloat16(), x.bfloat16()).float()
