"""Study latent-size: how many numbers should describe an image? Rate, distortion, active units and samples from 2 to 512."""

from collections.abc import Sequence
from dataclasses import replace

from vaegan.charts import Axis
from vaegan.studies.measures import autoencoding, heldout_images, sampling
from vaegan.studies.study import Numbers, Picture, Results, Setting, Story, Study, Subject, TrainedArm

SIZES = (2, 4, 8, 16, 32, 64, 128, 256, 512)
NEAR = 0.05  # of the gain from the smallest size to the best that a recommended size may lack


def arms(setting: Setting) -> Sequence[TrainedArm]:
    """One VAE a size."""
    base = replace(setting.base, recipe="vae")
    return [TrainedArm(f"z = {size}", replace(base, network=replace(base.network, latent_dim=size))) for size in SIZES]


def measure(subject: Subject) -> Numbers:
    """Rate, distortion, active units, and the distance of samples."""
    found = autoencoding(subject.model, heldout_images(subject.setting.dataset, 1000)) | sampling(subject.model, subject.dataset)
    return found | {"latent_dim": subject.model.latent_dim}


def recommended(bounds: dict[int, float], near: float = NEAR) -> int:
    """The smallest size whose bound on log p(x) [nats] lacks at most `near` of the gain from the smallest size to the best."""
    smallest, best = bounds[min(bounds)], max(bounds.values())
    return min(size for size, bound in bounds.items() if best - bound <= near * (best - smallest))


def tell(results: Results) -> Story:
    """The curve and the recommendation."""
    sizes = {int(results.mean(label, "latent_dim")): label for label in results.labels}
    curve = {name: {size: results.mean(label, name) for size, label in sizes.items()} for name in COLUMNS}
    chosen = recommended(curve["elbo"])
    label, largest = sizes[chosen], sizes[max(sizes)]
    used, offered = results.mean(largest, "active_units"), max(sizes)
    nearest = min(sizes, key=lambda size: curve["distance"][size])
    sentences = [
        f"Recommended: {chosen} latents. It is the smallest size whose held-out bound on log p(x) lacks at most {NEAR:.0%} of "
        f"the gain from {min(sizes)} latents to the best size ({max(sizes, key=lambda size: curve['elbo'][size])}). At "
        f"{chosen} the error is {results.mean(label, 'error'):.4f} a value, the rate {results.mean(label, 'kl'):.1f} nats, "
        f"and {results.mean(label, 'active_units'):.0f} units are active.",
        f"Offered {offered} latents, the model used {used:.0f} (variance of the posterior mean over 0.01). "
        f"Its bound is {max(curve['elbo'].values()) - curve['elbo'][offered]:.0f} nats below the best size's, its error "
        f"{results.mean(largest, 'error'):.4f}.",
        f"Samples come nearest to held-out images at {nearest} latents (sliced Wasserstein {curve['distance'][nearest]:.1f}, "
        f"real images {results.mean(label, 'real_distance'):.1f})"
        + (": more latents reconstruct better and sample no better, because the prior has to fill them all." if nearest < chosen
           else "."),
        "The answer holds for this number of images, this network and these data; more training makes more units pay.",
    ]  # fmt: skip
    points = {name: [(float(size), value) for size, value in values.items()] for name, values in curve.items()}
    x = Axis("latents", log=True)
    pictures: list[Picture] = []
    for file, names, title, y in FIGURES:
        shown = {legend: points[name] for name, legend in names.items()}
        spreads = {legend: [results.spread(sizes[size], name) for size in sizes] for name, legend in names.items()}
        pictures.append(results.lines(file, shown, title, x, y, title, spreads=spreads, marks=True))
    answer = {"recommended_latent_dim": chosen, "nearest_samples_at": nearest, "active_units_of_largest": used}
    return Story(sentences, pictures, answer)


COLUMNS = {
    "error": "held-out error a value",
    "kl": "rate: KL [nats]",
    "active_units": "active units",
    "elbo": "bound on log p(x) [nats]",
    "distance": "distance of samples x1000",
    "real_distance": "the same between real images",
    "sharpness": "sharpness of samples, real = 1",
}
FIGURES = (
    ("distortion.svg", {"error": "error"}, "Distortion: error of held-out images", Axis("squared error a value")),
    ("rate.svg", {"kl": "KL [nats]", "active_units": "active units"}, "Rate and active units", Axis("nats; units", log=True)),
    ("samples.svg", {"distance": "samples", "real_distance": "real images"}, "Distance of samples to held-out images",
     Axis("sliced Wasserstein x1000")),
)  # fmt: skip

QUESTION = "How many latents do these images want? Rate, distortion, active units and samples from 2 to 512."
SOURCE = "the comic-face project: the latent size is hard to choose"
LATENT_SIZE = Study("latent-size", QUESTION, SOURCE, arms, measure, tell, COLUMNS, minutes=20.0)
