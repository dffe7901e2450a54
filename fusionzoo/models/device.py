"""The device that a person names, or one clear line why it cannot be used."""

from __future__ import annotations

import torch

from fusionzoo.errors import InputError

__all__ = ["usable_device"]


def usable_device(name: str | torch.device) -> torch.device:
    """The device called `name`, tried out with one number.

    Raises:
        InputError: no such device, or torch cannot compute on it here.

    >>> usable_device("cpu")
    device(type='cpu')
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device {str(name)!r}; give cpu, cuda, cuda:1, mps or xpu") from error
    if device.type == "meta":
        raise InputError("device 'meta' computes nothing; give cpu or cuda")
    try:
        torch.ones(1, device=device).add_(1).item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"device {str(device)!r} cannot be used here ({why}); leave it out, or give cpu") from error
    return device
