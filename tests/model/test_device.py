"""Devices are chosen by name, and precision by device."""

import os
import sys
from collections.abc import Iterator

import pytest
import torch

from napari_semigda.errors import SemiGDAError
from napari_semigda.model.device import TURN, autocast, choose_device, leave_room_for_window


def test_the_cpu_is_always_there() -> None:
    assert choose_device("cpu") == torch.device("cpu")


def test_auto_takes_what_computes_here() -> None:
    device = choose_device("auto")
    assert (torch.ones(2, device=device) * 2).sum() == 4


@pytest.mark.parametrize("name", ["gpu", "", "cuda:abc", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_in_words(name: str) -> None:
    with pytest.raises(SemiGDAError, match="use auto"):
        choose_device(name)


def test_a_cpu_computes_in_bfloat16_only_with_units_for_it() -> None:
    capabilities = torch.cpu.get_capabilities()
    has_units = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    with autocast("cpu"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if has_units else torch.float32)


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts back how many threads compute, and how long one of Python's keeps the others waiting."""
    before, turn = torch.get_num_threads(), sys.getswitchinterval()
    yield
    torch.set_num_threads(before)
    sys.setswitchinterval(turn)


@pytest.mark.usefixtures("threads")
def test_a_core_is_left_to_the_window_but_one_always_computes() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(cores + 3)
    leave_room_for_window()
    assert torch.get_num_threads() == max(1, cores - 1)


@pytest.mark.usefixtures("threads")
def test_fewer_threads_that_somebody_asked_for_stay() -> None:
    torch.set_num_threads(1)
    leave_room_for_window()
    assert torch.get_num_threads() == 1


@pytest.mark.usefixtures("threads")
def test_threads_take_turns_more_often_beside_a_window() -> None:
    sys.setswitchinterval(10 * TURN)
    leave_room_for_window()
    assert sys.getswitchinterval() == pytest.approx(TURN, rel=0.1)


@pytest.mark.usefixtures("threads")
def test_shorter_turns_that_somebody_asked_for_stay() -> None:
    sys.setswitchinterval(TURN / 10)
    leave_room_for_window()
    assert sys.getswitchinterval() == pytest.approx(TURN / 10, rel=0.1)
