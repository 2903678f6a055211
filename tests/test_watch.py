"""The numbers that training is watched by, against brute force and made-up cases with known answers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from vaegan.metrics import watch


def patterns(count: int, seed: int = 0, size: int = 32) -> Tensor:
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return F.interpolate(coarse, size, mode="bilinear")


def flat(images: Tensor) -> np.ndarray:
    return F.avg_pool2d(images, images.shape[-1] // 16).flatten(1).numpy()


def test_variety_is_half_the_mean_squared_distance_of_pairs() -> None:
    images = patterns(12)
    small = torch.from_numpy(flat(images)).double()
    pairs = torch.cdist(small, small).square().sum() / (12 * 11)
    assert float(watch.variety(images)) == pytest.approx(float(pairs) / 2, rel=1e-4)
    assert float(watch.variety(images[:1].expand(8, -1, -1, -1))) == pytest.approx(0, abs=1e-6)
    noisy = images + 0.3 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    assert float(watch.variety(noisy)) < 1.5 * float(watch.variety(images))  # texture is not variety


def test_recall_is_that_of_nearest_neighbours() -> None:
    real, generated = patterns(60), patterns(50, seed=1)
    a, b = flat(real), flat(generated)
    radius = NearestNeighbors(n_neighbors=6).fit(b).kneighbors(b)[0][:, 5]
    wanted = (np.linalg.norm(a[:, None] - b[None], axis=2) < radius).any(1).mean()
    assert float(watch.recall(real, generated)) == pytest.approx(wanted)
    assert 0.2 < wanted <= 1
    one_mode = generated[:1] + 0.01 * patterns(50, seed=2)
    assert float(watch.recall(real, one_mode)) == 0


def test_overfitting_is_where_held_out_images_stand_between_known_and_generated() -> None:
    known, generated = torch.full((9,), 3.0), torch.full((7,), -1.0)
    for heldout, wanted in ((3.0, 0.0), (1.0, 0.5), (-1.0, 1.0)):
        assert float(watch.overfitting(known, torch.full((5,), heldout), generated)) == pytest.approx(wanted)
    assert float(watch.overfitting(generated, known, generated)) == 0  # tells nothing apart


def test_copying_is_a_half_for_new_images_and_one_for_copies() -> None:
    train, heldout = patterns(400, seed=3), patterns(80, seed=4)
    new, copies = patterns(200, seed=5), train[:50] + 0.01 * patterns(50, seed=6)
    assert float(watch.copying(new, train, heldout)) == pytest.approx(0.5, abs=0.1)
    # Each copy lies in one of the five parts only, so that the mean over the parts is a fifth above chance at least ...
    assert float(watch.copying(copies, train, heldout)) > 0.58
    # ... and all of it when the part is all there is.
    assert float(watch.copying(copies, train[:60], heldout)) > 0.9


def test_distance_ratio_is_small_only_for_copies() -> None:
    train, heldout = patterns(100, seed=3), patterns(100, seed=4)
    copies = train[:50] + 0.01 * patterns(50, seed=6)
    assert float(watch.nearness(copies, train, heldout)) < 0.2
    assert float(watch.nearness(patterns(100, seed=5), train, heldout)) == pytest.approx(1, abs=0.1)
    assert float(watch.nearness(torch.randn(50, 3, 32, 32), train, heldout)) > 1.1
