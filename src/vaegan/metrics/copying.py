"""Is a sample a copy? Nearest training images, and whether they are nearer than chance makes them."""

import torch
from torch import Tensor

from vaegan.metrics.neighbours import nearest
from vaegan.metrics.statistics import wilson_interval

Nearest = tuple[Tensor, Tensor]
"""Distance and position of each sample's nearest image of a pool."""


def copying_share(
    in_train: Nearest, in_heldout: Nearest, train_count: int, heldout_count: int
) -> tuple[float, tuple[float, float]]:
    """P[a sample is nearer to the training set than to as many held-out images]: 0.5 is right, towards 1 it copies.

    The question of Meehan et al. 2020, asked so that both whole sets answer. With N training and M held-out images from one
    distribution a sample's nearest image is held out with probability M / (N + M); the odds found, divided by N / M, are
    those of a comparison between sets of equal size. Comparing with only M training images would see only M of N copies.

    Samples that share a nearest image are one piece of evidence between them: other pools would move all of them together. So
    the 95 % interval is Wilson's (1927) with as many samples as would vary as much if they were independent: their number over
    the index of dispersion of how many samples each image attracts (McCullagh & Nelder 1989, Section 6.2.3).

    Args:
        in_train: nearest training image of each sample.
        in_heldout: nearest held-out image.
        train_count: N.
        heldout_count: M.
    """
    nearer = (in_train[0] < in_heldout[0]).double() + 0.5 * (in_train[0] == in_heldout[0]).double()

    def share(of_train: float, of_heldout: float) -> float:
        return of_train / train_count / (of_train / train_count + of_heldout / heldout_count)

    # Half a sample on both sides together keeps the odds finite when all fall on one.
    half, whole = 0.5 / (train_count + heldout_count), train_count + heldout_count
    known, unknown = float(nearer.sum()), float((1 - nearer).sum())
    value = share(known + half * train_count, unknown + half * heldout_count)
    attracted = _attracted(in_train[1], nearer, train_count), _attracted(in_heldout[1], 1 - nearer, heldout_count)
    spread = sum(float((one - one.mean()).square().sum() / one.mean()) for one in attracted if one.any())
    low, high = wilson_interval(known / len(nearer), len(nearer) / max(1.0, spread / max(1, whole - 2)))
    return value, (min(value, share(low, 1 - low)), max(value, share(high, 1 - high)))


def _attracted(nearest_image: Tensor, weights: Tensor, count: int) -> Tensor:
    """How many samples each of `count` images is nearest to."""
    return torch.zeros(count, dtype=torch.float64).index_add_(0, nearest_image, weights)


def nearest_of_both(queries: Tensor, mirrored: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
    """Distance and position of the nearest item of the pool to each query or its mirror image, whichever is nearer."""
    (one, first), (two, second) = nearest(queries, pool), nearest(mirrored, pool)
    return torch.minimum(one, two), torch.where(one <= two, first, second)


def most_suspicious(to_train: Tensor, to_heldout: Tensor, count: int = 8) -> Tensor:
    """Positions of the samples whose training neighbour is nearest compared with their held-out neighbour, worst first."""
    return (to_train / to_heldout.clamp_min(1e-9)).argsort(stable=True)[:count]
