import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.training.augmentation import augment
from napari_semigda.training.data import Batch, Example, Stream, cut_window, draw_batch
from tests.training.conftest import disc_example


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_example_of_the_working_size_is_taken_whole() -> None:
    example = disc_example(0)
    assert cut_window(example, 32, generator()) is example


@given(st.integers(0, 1000), st.integers(32, 90), st.integers(32, 90))
def test_a_window_of_a_larger_picture_keeps_image_and_labels_together(
    seed: int, height: int, width: int
) -> None:
    places = torch.arange(height * width).view(height, width)
    example = Example(
        places.expand(3, -1, -1).float(), (places % 7).to(torch.uint8), torch.ones_like(places) > 0
    )
    window = cut_window(example, 32, generator(seed))
    assert window.image.shape == (3, 32, 32)
    assert torch.equal(window.image[0].long() % 7, window.labels.long())


def test_windows_look_for_what_is_known() -> None:
    labels = torch.full((300, 300), UNKNOWN, dtype=torch.uint8)
    labels[200:220, 40:60] = 1
    example = Example(torch.zeros(3, 300, 300), labels, torch.ones(300, 300, dtype=torch.bool))
    seen = [(cut_window(example, 32, generator(seed)).labels == 1).any().item() for seed in range(40)]
    assert sum(seen) > 20


@given(st.integers(0, 1000), st.integers(1, 12))
def test_half_of_the_windows_hold_an_object_however_few_pixels_it_has(seed: int, objects: int) -> None:
    labels = torch.zeros(200, 150, dtype=torch.uint8)
    places = torch.randperm(labels.numel(), generator=generator(seed))[:objects]
    labels.view(-1)[places] = 1
    example = Example(torch.zeros(3, 200, 150), labels, torch.ones(200, 150, dtype=torch.bool))
    drawing = generator(seed)
    seen = [bool(cut_window(example, 32, drawing).labels.any()) for _ in range(60)]
    assert sum(seen) >= 15


def test_images_kept_with_half_the_precision_train_as_float32() -> None:
    halved = [example._replace(image=example.image.half()) for example in map(disc_example, range(2))]
    batch = draw_batch(halved, [0, 1], 32, generator())
    assert batch.images.dtype == torch.float32
    assert torch.equal(batch.images, torch.stack([example.image for example in halved]).float())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_augmentation_moves_labels_with_the_image(seed: int) -> None:
    size = 64
    labels = torch.zeros(2, size, size, dtype=torch.uint8)
    labels[0, 10:40, 20:34], labels[1, 30:60, 5:50] = 1, 1
    images = (labels.float() * 2 - 1)[:, None].repeat(1, 3, 1, 1)
    valid = torch.ones(2, size, size, dtype=torch.bool)
    images, labels, valid = augment(Batch(images, labels, valid), generator(seed))
    assert set(labels.unique().tolist()) <= {0, 1, UNKNOWN}
    assert torch.equal(labels == UNKNOWN, ~valid)
    agree = ((images.mean(dim=1) > 0) == (labels == 1)) | ~valid
    assert agree.float().mean() > 0.98  # nearest and linear sampling part at the outlines only
    assert images.min() >= -1
    assert images.max() <= 1


def test_augmentation_follows_its_seed() -> None:
    batch = draw_batch([disc_example(i) for i in range(4)], [0, 1, 2, 3], 32, generator())
    once, again, other = (augment(batch, generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(once.images, again.images)
    assert not torch.equal(once.images, other.images)


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 100))
def test_a_stream_shows_every_example_once_an_epoch(count: int, batch: int, seed: int) -> None:
    stream = Stream(count, batch, seed)
    drawn = [index for step in range(3 * count) for index in stream.draw(step)]
    assert all(len(stream.draw(step)) == batch for step in range(5))
    for epoch in range(3):
        assert sorted(drawn[epoch * count : (epoch + 1) * count]) == list(range(count))


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 500))
def test_a_draw_depends_on_the_step_alone(count: int, batch: int, step: int) -> None:
    walked = Stream(count, batch, 1)
    for earlier in range(min(step, 20)):
        walked.draw(earlier)
    assert walked.draw(step) == Stream(count, batch, 1).draw(step)


def test_a_stream_of_nothing_draws_nothing() -> None:
    assert Stream(0, 4, 0).draw(3) == []
