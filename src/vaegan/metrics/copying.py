"""Is a sample a copy? Nearest training images, and whether they are nearer than chance makes them."""

import torch
from torch import Tensor

from vaegan.metrics.neighbours import nearest
from vaegan.metrics.statistics import interval, resampling_weights


def copying_share(
    to_train: Tensor, to_heldout: Tensor, train_count: int, heldout_count: int, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """P[a sample is nearer to the training set than to as many held-out images]: 0.5 is right, towards 1 it copies.

    The question of Meehan et al. 2020, asked so that both whole sets answer. With N training and M held-out images from one
    distribution a sample's nearest image is held out with probability M / (N + M); the odds found, divided by N / M, are
    those of a comparison between sets of equal size. Comparing with only M training images would see only M of N copies.

    Args:
        to_train: distance of each sample to its nearest training image.
        to_heldout: to its nearest held-out image.
        train_count: N.
        heldout_count: M.
        seed: of the bootstrap over samples.
    """
    nearer = (to_train < to_heldout).double() + 0.5 * (to_train == to_heldout).double()

    def share(nearer_count: Tensor) -> Tensor:
        # Half a sample on each side keeps the odds finite when all fall on one.
        train = (nearer_count + 0.5 * train_count / (train_count + heldout_count)) / train_count
        held = (len(nearer) - nearer_count + 0.5 * heldout_count / (train_count + heldout_count)) / heldout_count
        return train / (train + held)

    value = float(share(nearer.sum()))
    return value, interval(value, share(resampling_weights(len(nearer), seed=seed) @ nearer))


def nearest_of_both(queries: Tensor, mirrored: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
    """Distance and position of the nearest item of the pool to each query or its mirror image, whichever is nearer."""
    (one, first), (two, second) = nearest(queries, pool), nearest(mirrored, pool)
    return torch.minimum(one, two), torch.where(one <= two, first, second)


def most_suspicious(to_train: Tensor, to_heldout: Tensor, count: int = 8) -> Tensor:
    """Positions of the samples whose training neighbour is nearest compared with their held-out neighbour, worst first."""
    return (to_train / to_heldout.clamp_min(1e-9)).argsort(stable=True)[:count]
