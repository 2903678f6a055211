"""One pass over all images of an evaluation, real ones and samples, block by block, in one process or in several."""

from collections.abc import Callable
from dataclasses import dataclass

from vaegan.data import VALIDATION
from vaegan.evaluation.copies import CopyCheck
from vaegan.evaluation.feature_files import FeatureNetwork, check_features
from vaegan.evaluation.inference import describe_inference
from vaegan.evaluation.reference import RealImages, References, of_side, read_cached, write_cached
from vaegan.evaluation.samples import Described, Yardstick, describe
from vaegan.evaluation.tally import Share, Tally
from vaegan.evaluation.telling import Telling
from vaegan.metrics.statistics import SHARDS
from vaegan.metrics.table import FEWEST_SAMPLES
from vaegan.model import BLOCK, Model
from vaegan.types import Images

NETWORK = "network"  # the user's feature network, in a tally
MOST_RESAMPLED = 512  # [dimensions]


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    count: int
    full: bool
    seed: int
    network: FeatureNetwork | None


@dataclass(frozen=True)
class Looked:
    """What was noted of all images; from here on one process judges."""

    yard: Yardstick
    copies: CopyCheck | None
    unseen: Tally | None
    """How near validation images are to training and held-out images; None where there are too few."""
    samples: dict[str, Described]
    """Of each stage."""
    inferred: dict[str, Tally]
    """What each stage that encodes makes of the held-out images."""


def look(
    models: dict[str, Model],
    chosen: References,
    telling: Telling,
    request: Request,
    share: Share,
    step: Callable[[str], None],
) -> Looked:
    """Passes over all images once, block by block; with several processes each over its share.

    Args:
        models: of the stages.
        chosen: real images.
        telling: what a conditional model is told.
        request: how many samples and which features.
        share: of the blocks.
        step: called with what is done next.
    """
    count, seed, network = request.count, request.seed, request.network
    step("real images")
    heldout = chosen.heldout.first(count)
    real = described(heldout, False, request, share)
    if network is not None:
        check_features(real.tally.rows(NETWORK), network.description)
    train = None if chosen.train is None else described(chosen.train.first(count), True, request, share)
    step("real neighbours")
    # A conditional encoder is told what an image shows, so that its places leave out what a label says: no space to compare in.
    encoder = next((model for model in models.values() if model.has_encoder and not model.config.labels), None)
    copies = None if chosen.train is None else CopyCheck(chosen, encoder, request.full, share)
    unseen, validation = None, _validation(chosen)
    if copies is not None and validation is not None:
        mine = Tally()
        for first, block in validation.first(count).blocks(share.blocks):
            copies.describe(mine, first, block.images())
        unseen = share.whole(mine)
    looked = Looked(Yardstick(real, train, seed), copies, unseen, {}, {})
    labels, unlabelled = telling.samples(chosen, count, seed), telling.lacks(chosen.heldout)
    for name, model in models.items():
        step(f"samples of the {name.upper()}")
        mine = Tally()
        for turn, images in enumerate(model.sample_blocks(count, seed, labels=labels, share=share.blocks)):
            first = (share.rank + turn * share.world_size) * BLOCK
            describe(mine, first, images, count, seed, given=True)
            if network is not None:
                _describe_features(mine, first, images, network)
            if copies is not None:
                copies.describe(mine, first, images)
        looked.samples[name] = Described(count, share.whole(mine))
        step(f"reconstructions of the {name.upper()}")
        if model.has_encoder and not unlabelled:
            mine = Tally()
            for first, block in heldout.blocks(share.blocks):
                describe_inference(mine, first, model, block.images(), telling.of(block))
            looked.inferred[name] = share.whole(mine)
    return looked


def described(real: RealImages, given: bool, request: Request, share: Share) -> Described:
    """What is noted of real images, from the cache beside the data if every process finds it there.

    Args:
        real: held-out or training images.
        given: as for `describe`.
        request: its seed and network are used.
        share: of the blocks.
    """
    network, tally = request.network, Tally()
    path = real.cache_file(f"described {request.seed} {given} {network and network.identity}")
    known = read_cached(path)
    if all(share.gather(bool(known))):
        return Described(len(real), Tally.of_states([known]))
    for first, block in real.blocks(share.blocks):
        describe(tally, first, images := block.images(), len(real), request.seed, given)
        if network is not None:
            _describe_features(tally, first, images, network)
    tally = share.whole(tally)
    if share.rank == 0:
        write_cached(path, tally.state())
    return Described(len(real), tally)


def _describe_features(tally: Tally, first: int, images: Images, network: FeatureNetwork) -> None:
    """Notes the features of one block in the user's network."""
    features = network(images)
    tally.keep_first(NETWORK, first, features)
    # Replicates of 2,048 dimensions would take longer than everything else together.
    tally.add_moments(NETWORK, first, features, SHARDS if features.shape[1] <= MOST_RESAMPLED else 1)


def _validation(chosen: References) -> RealImages | None:
    """Images that were not trained on and are not compared with: what copying looks like where there is none."""
    if chosen.train is None:
        return None
    images = of_side(chosen.train.dataset, VALIDATION, "validation")
    return images if len(images) >= FEWEST_SAMPLES and chosen.heldout.side != "validation" else None
