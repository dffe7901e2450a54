"""What all tests share: thread count, no network beyond this machine, the path of the shared data."""

from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# several test processes (pytest -n) share the cores: more threads than cores wait for each other. The environment, so
# that the commands which tests start follow; before the first import of torch.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ and "OMP_NUM_THREADS" not in os.environ:
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `../shared` beside the project; skips with the reason where it is not."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data: {folder / 'data'} is not a folder")
    return folder


@pytest.fixture(scope="session")
def nyuv2_folder(shared: Path) -> Path:
    """NYU Depth v2 in its folder layout; skips with the reason where it is not."""
    folder = shared / "data" / "nyuv2"
    if not folder.is_dir():
        pytest.skip(f"no NYUv2: {folder} is not a folder")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    """Two threads at most, since small tensors gain nothing from more; or as many as OMP_NUM_THREADS says."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(2, torch.get_num_threads()))
    # torch.export before a process's first backward pass makes autograd refuse to run in forks, which tests train in
    torch.ones(1, requires_grad=True).sum().backward()


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Every test starts from the same random state, in any order of tests."""
    import torch

    torch.manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> None:
    """What several tests share starts from a random state of its own, whichever test asks for it first."""
    if fixturedef.scope != "function":
        import torch

        torch.manual_seed(zlib.crc32(fixturedef.argname.encode()))


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Tests reach this machine only: a connection anywhere else is an error that names the address."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0]) if isinstance(address, tuple) else str(address)
            if host not in ("127.0.0.1", "::1", "localhost"):
                raise OSError(f"a test tried to reach the network: {address!r}")
        return connect(self, address)  # type: ignore[arg-type]

    socket.socket.connect = guarded  # type: ignore[method-assign, assignment]
    yield
    socket.socket.connect = connect  # type: ignore[method-assign]
