"""The device that a run uses."""

from __future__ import annotations

import torch

from fusionzoo.errors import InputError

__all__ = ["pick_device"]


def pick_device(name: str | None = None) -> torch.device:
    """The device called `name`; None: the first CUDA GPU where there is one, else the CPU.

    Raises:
        InputError: a device that torch does not know, or that is not in this machine.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = torch.cuda.device_count()
        gpus = "no CUDA GPU" if not there else f"{there} CUDA GPU{'s' * (there > 1)} (cuda:0 ...)"
        raise InputError(
            f"device {name!r} cannot be used: torch {torch.__version__} finds {gpus} here; give --device cpu,"
            " or leave it out"
        ) from error
    return device
