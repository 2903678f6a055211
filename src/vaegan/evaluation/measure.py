"""One pass over all images of an evaluation, block by block, in one process or in several; and all numbers from it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vaegan.evaluation import inference
from vaegan.evaluation.copies import CopyCheck
from vaegan.evaluation.feature_files import FeatureNetwork, check_features
from vaegan.evaluation.inference import KnownFactors
from vaegan.evaluation.reference import WITHOUT_LABELS, Condition, RealImages, References, read_cached, write_cached
from vaegan.evaluation.samples import NETWORK, WITHOUT_TRAIN, Described, Yardstick, compare, describe, log_spectrum
from vaegan.evaluation.tally import MOST_RECORDED, Findings, Share, Tally
from vaegan.evaluation.verdict import copies_images, copying, verdict
from vaegan.metrics.features import RANDOM_FEATURES
from vaegan.metrics.table import FEWEST_SAMPLES, METRICS
from vaegan.model import BLOCK, Model, Sampler

NO_NEIGHBOURS: dict[str, Any] = {"samples": [], "training_index": [], "pixel_distance": []}
UNSURE = "The run's own images are not at hand: some of those compared with may have been trained on, which would flatter."


@dataclass(frozen=True)
class Options:
    """How to measure."""

    count: int  # samples of each stage, and at most so many real images
    full: bool
    seed: int
    network: FeatureNetwork | None


@dataclass
class Measurement:
    """What is measured, and what was recorded of it. Every process observes its share, and one of them then judges."""

    models: dict[str, Model]
    references: References
    condition: Condition
    options: Options
    share: Share
    step: Callable[[str], None]  # called with what is done next
    yard: Yardstick = field(init=False)
    copies: CopyCheck | None = None
    unseen: Tally | None = None  # how near validation images are to training and held-out images; None where there are too few
    samples: dict[str, Described] = field(default_factory=dict)
    prior_samples: dict[str, Described] = field(default_factory=dict)  # from N(0, I), of stages that have a mixture beside it
    inferred: dict[str, Tally] = field(default_factory=dict)  # what each stage that encodes makes of the held-out images

    def observe(self) -> None:
        """Passes over all images once, block by block; with several processes each over its share."""
        real, options, share = self.references, self.options, self.share
        self.step("real images")
        heldout = described(real.heldout.first(options.count), False, options, share)
        if options.network is not None:
            check_features(heldout.tally.rows(NETWORK), options.network.description)
        train = None if real.train is None else described(real.train.first(options.count), True, options, share)
        self.yard = Yardstick(heldout, train, options.seed, options.network and options.network.description.name)
        self.step("real neighbours")
        # A conditional encoder's latents leave out what the label says: no space to compare images in.
        encoder = next((model for model in self.models.values() if model.has_encoder and not model.config.labels), None)
        self.copies = None if real.train is None else CopyCheck(real, encoder, options.full, share)
        validation = real.validation
        if self.copies is not None and validation is not None and len(validation) >= FEWEST_SAMPLES:
            tally = Tally()
            for first, block in validation.first(options.count).blocks(share.blocks):
                self.copies.describe(tally, first, block.images())
            self.unseen = share.merged(tally)
        for name, model in self.models.items():
            self.step(f"samples of the {name.upper()}")
            for sampler, found in zip(model.samplers, (self.samples, self.prior_samples), strict=False):
                found[name] = self._samples(model, sampler)
            self.step(f"reconstructions of the {name.upper()}")
            if model.has_encoder and not self.condition.lacks(real.heldout):
                tally = Tally()
                for first, block in real.heldout.first(options.count).blocks(share.blocks):
                    inference.describe_inference(tally, first, model, block.images(), self.condition.labels(block))
                self.inferred[name] = share.merged(tally)

    def _samples(self, model: Model, sampler: Sampler) -> Described:
        count, seed, network = self.options.count, self.options.seed, self.options.network
        tally, labels = Tally(), self.condition.sample_labels(self.references, count, seed)
        for turn, images in enumerate(model.sample_blocks(count, seed, sampler, labels=labels, share=self.share.blocks)):
            first = (self.share.rank + turn * self.share.world_size) * BLOCK
            describe(tally, first, images, count, seed, True, network)
            if self.copies is not None:
                self.copies.describe(tally, first, images)
        return Described(count, self.share.merged(tally))

    def result(self) -> dict[str, Any]:
        """All numbers of all stages and of the floor, as evaluation.json holds them."""
        floor, left_out = Findings(most=self.options.count), {}
        factors = self._factors()
        if self.yard.train is None or self.copies is None:
            left_out |= dict.fromkeys(("floor", "copying", "copying_encoder", "neighbour_distance"), WITHOUT_TRAIN)
        else:
            compare(self.yard, self.yard.train, floor)
            if self.unseen is not None:
                self.copies.judge(self.unseen, floor, self.options.seed)
            if factors is not None:
                factors.mix(self.yard.train, floor, self.options.seed)
        details: dict[str, Any] = {"per_dimension_kl": [], "neighbours": dict(NO_NEIGHBOURS)}
        stages = {name: self._stage(name, factors, details) for name in self.models}
        prior = {name: self._judged(samples, factors)[0] for name, samples in self.prior_samples.items()}
        if not any(inference.has_posteriors(model) for model in self.models.values()):
            left_out |= dict.fromkeys((*inference.BOUNDS, *inference.POSTERIOR_NUMBERS), inference.NO_POSTERIOR)
        if self.condition.lacks(self.references.heldout):
            left_out |= dict.fromkeys((*inference.ERRORS, "elbo", "iwae", "kl"), WITHOUT_LABELS)
        for found in (floor, *stages.values()):
            left_out |= found.left_out
        # What only the floor lacks says so in the floor's place.
        left_out = {name: reason for name, reason in left_out.items() if not any(name in one.numbers for one in stages.values())}
        numbers = {name: self._with_floor(found.as_json(), floor) for name, found in stages.items()}
        heldout, network = self.references.heldout.first(self.options.count), self.options.network
        return {
            "reference": {"side": heldout.side, "count": len(heldout)},
            "features": RANDOM_FEATURES if network is None else network.description.name,
            "kept": MOST_RECORDED,
            "stages": numbers,
            "prior_samples": {name: self._with_floor(found.as_json(), floor) for name, found in prior.items()},
            "floor": floor.as_json(),
            "left_out": left_out,
            "spectra": {name: log_spectrum(one) for name, one in {"real": self.yard.real, **self.samples}.items()},
            **details,
            "verdict": verdict(numbers, floor.as_json()) + ([] if self.references.train is not None else [UNSURE]),
            "copies": {name: copying(named) for name, named in numbers.items() if copies_images(named)},
        }

    def _factors(self) -> KnownFactors | None:
        if self.references.train is None or not self.references.train.dataset.labels:
            return None
        found = KnownFactors(self.references, self.options.count)
        return found if found.factors else None

    def _stage(self, name: str, factors: KnownFactors | None, details: dict[str, Any]) -> Findings:
        """The numbers of one stage; puts what is no number into `details`."""
        count, seed, model = self.options.count, self.options.seed, self.models[name]
        heldout = self.references.heldout.first(count)
        self.step(f"numbers of the {name.upper()}")
        found, neighbours = self._judged(self.samples[name], factors)
        if neighbours:
            details["neighbours"] = neighbours
            labels = self.condition.sample_labels(self.references, count, seed)
            if labels is not None:
                neighbours["label"] = labels[neighbours["samples"]].tolist()
        self.step(f"attributes of the {name.upper()}")
        if factors is not None and model.has_encoder:
            factors.latent(model, self.condition, found, seed)
        if name in self.inferred:
            inference.reconstructions(self.inferred[name], len(heldout), found, seed)
            if inference.has_posteriors(model):
                details["per_dimension_kl"] = inference.posteriors(self.inferred[name], len(heldout), found, seed)
                inference.likelihood(model, heldout, self.condition, found, seed, self.options.full)
        return found

    def _judged(self, samples: Described, factors: KnownFactors | None) -> tuple[Findings, dict[str, Any]]:
        """The numbers of a set of samples, and those of them that lie nearest to training images."""
        found, seed = Findings(most=self.options.count), self.options.seed
        compare(self.yard, samples, found)
        neighbours = {} if self.copies is None else self.copies.judge(samples.tally, found, seed)
        if factors is not None:
            factors.mix(samples, found, seed)
        return found, neighbours

    def _with_floor(self, numbers: dict[str, Any], floor: Findings) -> dict[str, Any]:
        """Numbers of a stage, with the reason where real images have no such number."""
        missing = WITHOUT_TRAIN if self.yard.train is None else "too few validation images to stand for samples"
        for name in numbers.keys() - floor.numbers.keys():
            chance = numbers[name].get("chance")
            by_chance = None if chance is None else f"{chance:.2f} by chance, with latents of other images"
            numbers[name]["no_floor"] = by_chance or METRICS[name].no_floor or missing
        return numbers


def described(real: RealImages, given: bool, options: Options, share: Share) -> Described:
    """What is recorded of real images, from the cache if every process finds it there; `given` is that of `describe`."""
    network, tally = options.network, Tally()
    path = real.cache_file(f"described {options.seed} {given} {network and network.identity}")
    known = read_cached(path)
    if all(share.gather(bool(known))):
        return Described(len(real), Tally.of_states([known]))
    for first, block in real.blocks(share.blocks):
        describe(tally, first, block.images(), len(real), options.seed, given, network)
    tally = share.merged(tally)
    if share.rank == 0:
        write_cached(path, tally.state)
    return Described(len(real), tally)
