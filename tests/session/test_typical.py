"""The image that a new session begins with."""

import itertools

import numpy as np
import pytest

from napari_semigda.session.session import Session
from napari_semigda.session.typical import MOST_READ

RNG = np.random.default_rng(3)


def look(level, noise=6):
    return np.clip(RNG.normal(level, noise, (40, 48)), 0, 255).astype(np.uint8)


def bright_in_one_corner():
    picture = look(90)
    picture[:20, :24] = 240
    return picture


@pytest.fixture
def make(tmp_path):
    def make(pictures, name="s"):
        arrays = {f"scan {n:04}": (one, (1.0, 1.0), "pixel") for n, one in enumerate(pictures)}
        return Session.from_arrays(tmp_path / name, arrays)

    return make


def test_it_is_none_of_the_curiosities_whatever_their_place(make):
    session = make([look(0, 1), *(look(90) for _ in range(6)), bright_in_one_corner(), look(255, 1)])
    assert session.items.index(session.typical_item()) in range(1, 7)


def test_of_two_kinds_it_is_of_the_larger(make):
    session = make([bright_in_one_corner() for _ in range(3)] + [look(90) for _ in range(9)])
    assert session.items.index(session.typical_item()) >= 3


def test_images_dealt_with_are_not_chosen(make):
    session = make([look(90) for _ in range(5)])
    chosen = session.typical_item()
    session.skip(chosen)
    assert session.typical_item().id != chosen.id


def test_too_few_have_no_middle(make):
    assert make([look(90), look(20)]).typical_item() is None


def test_an_image_that_cannot_be_read_is_passed_over(make):
    session = make([look(90) for _ in range(5)])
    session.images.path(session.items[0]).unlink()
    assert session.typical_item() in session.items[1:]


def test_of_a_thousand_images_a_few_are_read(make):
    session = make([look(90)] * (3 * MOST_READ))
    for item in session.items[: 2 * MOST_READ]:
        session.images.path(item).unlink()
    assert session.typical_item() is not None


def test_nothing_is_read_when_the_time_is_over(make):
    clock = itertools.count()
    assert make([look(90) for _ in range(9)]).typical_item(seconds=1, clock=lambda: next(clock)) is None


def test_images_too_large_to_be_read_quickly_are_left_out(make):
    assert make([look(90) for _ in range(5)]).typical_item(most_pixels=100) is None
