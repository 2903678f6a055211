"""Shape and batches: fixed by content, stateless, the same for any number of processes."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vaegan.data import (
    SET_ASIDE,
    TEST,
    TRAIN,
    VALIDATION,
    DataConfig,
    ImageDataset,
    TrainingBatches,
    open_dataset,
    to_tensor,
    to_uint8,
)
from vaegan.data.building import set_duplicates_aside, side_of
from vaegan.data.decoding import content_hash
from vaegan.data.pixels import binarized
from vaegan.errors import DataError, RequestError

COUNT = 100


def noise(count: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, channels), dtype=np.uint8)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    place = tmp_path_factory.mktemp("data")
    np.save(place / "images.npy", noise(COUNT))
    return open_dataset(place / "images.npy", DataConfig(size=16), cache_dir=place)


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    place = tmp_path_factory.mktemp("grey")
    np.save(place / "images.npy", noise(COUNT, channels=1))
    return open_dataset(place / "images.npy", DataConfig(size=16, binarize="dynamic", flip="off"), cache_dir=place)


def test_tensors_and_bytes_are_exact_inverses() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    tensor = to_tensor(pixels)
    assert tensor.shape == (1, 3, 16, 16)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert np.array_equal(to_uint8(tensor), pixels)
    assert np.array_equal(to_uint8(torch.tensor([-9.0, 9.0]).view(2, 1, 1, 1)).ravel(), (0, 255))
    assert np.array_equal(to_uint8(torch.tensor([-torch.inf, torch.inf]).view(2, 1, 1, 1)).ravel(), (0, 255))
    with pytest.raises(RequestError, match="not numbers"):
        to_uint8(torch.tensor([0.0, torch.nan]).view(2, 1, 1, 1))


def test_shares_of_the_sides_are_as_stated() -> None:
    counts = Counter(side_of(content_hash(str(index).encode())) for index in range(20_000))
    for side, share in ((VALIDATION, 0.05), (TEST, 0.05), (TRAIN, 0.9)):
        assert counts[side] / 20_000 == pytest.approx(share, abs=0.008)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([TRAIN, VALIDATION, TEST])), min_size=1))
def test_equal_pixels_stand_on_one_side_only(images: list[tuple[int, int]]) -> None:
    pixels = np.array([image for image, _ in images], dtype=np.uint64)
    sides = np.array([side for _, side in images], dtype=np.uint8)
    kept = set_duplicates_aside(sides, pixels)
    for image in set(pixels.tolist()):
        before, after = set(sides[pixels == image]), set(kept[pixels == image]) - {SET_ASIDE}
        strongest = TEST if TEST in before else VALIDATION if VALIDATION in before else TRAIN
        assert after == {strongest}
    assert all(new in (old, SET_ASIDE) for old, new in zip(sides, kept, strict=True))


def test_growing_the_folder_moves_nobody(tmp_path: Path) -> None:
    images = noise(300)
    (tmp_path / "images").mkdir()

    def opened(start: int, end: int) -> dict[str, int]:
        for index in range(start, end):
            Image.fromarray(images[index]).save(tmp_path / "images" / f"{(index * 7919) % 1000:03}.png")
        found = open_dataset(tmp_path / "images", DataConfig(size=16), cache_dir=tmp_path / "cache")
        return dict(zip(found.names, found.sides.tolist(), strict=True))

    before, after = opened(0, 150), opened(150, 300)
    assert len(after) == 300
    assert before.items() <= after.items()
    assert set(after.values()) == {TRAIN, VALIDATION, TEST}


def test_duplicates_across_formats_are_set_aside(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for index, values in enumerate(noise(100)):
        for end in ("png", "bmp", "tif"):
            Image.fromarray(values).save(tmp_path / "images" / f"{index}.{end}")
    found = open_dataset(tmp_path / "images", DataConfig(size=16), cache_dir=tmp_path / "cache")
    aside = found.indices(SET_ASIDE)
    assert len(aside) > 20
    assert any(f"{len(aside)} of 300 images were set aside" in note for note in found.notes)
    shape_of = {}
    for name, side in zip(found.names, found.sides.tolist(), strict=True):
        shape_of.setdefault(name.split(".")[0], set()).add(side)
    assert all(len(sides - {SET_ASIDE}) == 1 for sides in shape_of.values())


def test_small_data_are_warned_about_and_identical_data_refused(dataset: ImageDataset, tmp_path: Path) -> None:
    assert any("Only 100 images" in warning for warning in dataset.warnings)
    for value in range(256):
        values = np.full((64, 16, 16), value, dtype=np.uint8)
        if side_of(content_hash(values[0].tobytes())) == TEST:
            break
    np.save(tmp_path / "same.npy", values)
    with pytest.raises(DataError, match="left to train on"):
        open_dataset(tmp_path / "same.npy", DataConfig(size=16), cache_dir=tmp_path)


def test_load_gives_the_images_asked_for(dataset: ImageDataset) -> None:
    chosen = dataset.indices(TRAIN)[[5, 2, 2]]
    assert np.array_equal(to_uint8(dataset.load(chosen)), np.asarray(dataset.images)[chosen])


def test_every_epoch_shows_every_training_image_once_in_another_order(dataset: ImageDataset) -> None:
    batches = TrainingBatches(dataset, batch_size=10, seed=3)
    train = dataset.indices(TRAIN)
    count = len(train)
    order = batches.indices_at(np.arange(3 * count, dtype=np.uint64)).reshape(3, count)
    assert all(sorted(epoch) == train.tolist() for epoch in order)
    assert (order[0] != order[1]).mean() > 0.9
    other = TrainingBatches(dataset, batch_size=10, seed=4).indices_at(np.arange(count, dtype=np.uint64))
    assert (order[0] != other).mean() > 0.9


@given(seen=st.integers(0, 10**12), batch=st.sampled_from([4, 12, 300]), world=st.sampled_from([2, 4]))
def test_processes_together_equal_one(dataset: ImageDataset, seen: int, batch: int, world: int) -> None:
    whole = TrainingBatches(dataset, batch_size=batch, seed=1).at(seen).images
    together = torch.empty_like(whole)
    for rank in range(world):
        together[rank::world] = TrainingBatches(dataset, batch_size=batch, seed=1, rank=rank, world_size=world).at(seen).images
    assert torch.equal(whole, together)
    assert whole.is_contiguous(memory_format=torch.channels_last)


def test_resuming_anywhere_gives_the_same_batches(dataset: ImageDataset, grey: ImageDataset) -> None:
    for data in (dataset, grey):
        through = TrainingBatches(data, batch_size=32, seed=7)
        run = [through.at(step * 32).images for step in range(12)]
        for step in (11, 3, 7):
            assert torch.equal(TrainingBatches(data, batch_size=32, seed=7).at(step * 32).images, run[step])
            assert torch.equal(through.at(step * 32).images, run[step])


def test_batch_size_only_cuts_the_same_stream(dataset: ImageDataset) -> None:
    small = TrainingBatches(dataset, batch_size=8, seed=7)
    large = TrainingBatches(dataset, batch_size=24, seed=7)
    assert torch.equal(torch.cat([small.at(seen).images for seen in (24, 32, 40)]), large.at(24).images)


def test_labels_come_with_the_images(dataset: ImageDataset) -> None:
    codes = np.arange(COUNT) * 3
    batches = TrainingBatches(dataset, batch_size=300, seed=2, rank=1, world_size=2, codes=codes)
    labels = batches.at(640).labels
    assert labels is not None
    assert labels.dtype == torch.int64
    positions = np.arange(641, 940, 2, dtype=np.uint64)
    assert np.array_equal(labels.numpy(), codes[batches.indices_at(positions)])
    assert TrainingBatches(dataset, batch_size=300, seed=2).at(640).labels is None


def test_half_of_the_images_are_mirrored(dataset: ImageDataset) -> None:
    batches = TrainingBatches(dataset, batch_size=2000, seed=0)
    shown = to_uint8(batches.at(0).images)
    originals = np.asarray(dataset.images)[batches.indices_at(np.arange(2000, dtype=np.uint64))]
    same = (shown == originals).all(axis=(1, 2, 3))
    mirrored = (shown == originals[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert mirrored.mean() == pytest.approx(0.5, abs=0.05)
    still = TrainingBatches(replace(dataset, flips=False), batch_size=2000, seed=0).at(0).images
    assert np.array_equal(to_uint8(still), originals)


def test_dynamic_binarisation_draws_anew_with_the_right_probability(grey: ImageDataset) -> None:
    batches = TrainingBatches(grey, batch_size=5000, seed=0)
    shown = to_uint8(batches.at(0).images)
    originals = np.asarray(grey.images)[batches.indices_at(np.arange(5000, dtype=np.uint64))]
    assert set(np.unique(shown)) == {0, 255}
    assert (shown[originals == 0] == 0).all()
    assert (shown[originals == 255] == 255).all()
    for low in range(0, 256, 32):
        some = (originals >= low) & (originals < low + 32)
        assert shown[some].mean() == pytest.approx(originals[some].mean(), abs=1.5)
    assert not torch.equal(batches.at(0).images, batches.at(5000).images)


def test_black_and_white_are_never_drawn_otherwise() -> None:
    keys = np.arange(256, dtype=np.uint64)
    for value in (0, 255):  # a million pixels: a probability of 1 - 2^-16 would show
        assert (binarized(np.full((256, 64, 64, 1), value, dtype=np.uint8), keys) == value).all()


def test_held_out_images_are_binarised_once_and_for_all(grey: ImageDataset) -> None:
    chosen = np.arange(20)
    first = grey.load(chosen)
    assert set(first.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(grey.load(chosen[::-1].copy()), first.flip(0))


def test_colour_is_not_binarised(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", noise(COUNT))
    with pytest.raises(RequestError, match="--channels 1"):
        open_dataset(tmp_path / "images.npy", DataConfig(size=16, binarize="dynamic"), cache_dir=tmp_path)


def test_order_comes_from_content_and_not_from_names(tmp_path: Path) -> None:
    for name, order in (("a", 1), ("b", -1)):
        (tmp_path / name).mkdir()
        for index, values in enumerate(noise(COUNT)[::order]):
            Image.fromarray(values).save(tmp_path / name / f"{index:03}.png")
    first, second = (
        TrainingBatches(open_dataset(tmp_path / name, DataConfig(size=16), cache_dir=tmp_path), batch_size=32, seed=0)
        for name in ("a", "b")
    )
    assert torch.equal(first.at(640).images, second.at(640).images)


def test_first_by_content_is_the_start_of_one_order(dataset: ImageDataset) -> None:
    every = dataset.first_by_content(TRAIN, COUNT)
    assert np.array_equal(np.sort(every), dataset.indices(TRAIN))
    assert (np.diff(dataset.contents[every].astype(object)) > 0).all()
    assert np.array_equal(dataset.first_by_content(TRAIN, 7), every[:7])
    assert len(dataset.first_by_content(SET_ASIDE, 7)) == 0


def test_batches_that_cannot_be_shared_are_refused(dataset: ImageDataset) -> None:
    with pytest.raises(RequestError, match="cannot be shared"):
        TrainingBatches(dataset, batch_size=10, seed=0, rank=0, world_size=4)
    with pytest.raises(DataError, match="no images to train on"):
        TrainingBatches(replace(dataset, sides=np.full(COUNT, TEST, np.uint8)), batch_size=10, seed=0)
