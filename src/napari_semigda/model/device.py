"""Which device computes, in which precision, and with how many threads."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch

from napari_semigda.errors import SemiGDAError

TURN = 0.001 if sys.platform == "win32" else 0.0005  # Windows does not wait for less than a millisecond
"""Seconds for which one thread of Python may keep others waiting; Python's default is ten times as long."""


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name: torch's, or "auto" (CUDA, else Apple's MPS, else the CPU). Raises a
    `SemiGDAError` if this machine has no such device.
    """
    if name == "auto":
        mps = "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device("cuda" if torch.cuda.is_available() else mps)
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SemiGDAError(f"There is no device “{name}”: use auto, cpu, cuda or mps.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SemiGDAError(
            f"This machine (or this build of PyTorch) has no CUDA device “{name}”: use auto or cpu."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise SemiGDAError("This machine (or this build of PyTorch) has no MPS device: use auto or cpu.")
    return device


def autocast(device: str | torch.device) -> AbstractContextManager[object]:
    """Return a context for forward passes: bfloat16 on devices with units for it, float32 elsewhere."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16) if has_bfloat16_units(kind) else nullcontext()


@cache
def has_bfloat16_units(kind: str) -> bool:
    """Return whether devices of this kind ("cpu", "cuda", …) on this machine are fast in bfloat16."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if kind == "cpu":
        # Without such units a CPU is ten times slower under autocast.
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def leave_room_for_window() -> None:
    """Compute on the CPU so that a window in the same process stays responsive.

    One thread fewer than there are cores computes, unless ``OMP_NUM_THREADS`` asks for fewer still; this
    holds for the calling thread and for all that start to compute afterwards. Python's threads take turns
    more often, in the whole process and for good, because a window gives its turn away at each call that
    draws.
    """
    # Cores that this process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, min(torch.get_num_threads(), cores - 1)))
    sys.setswitchinterval(min(sys.getswitchinterval(), TURN))
