"""Study ae-vs-vae: two latents as a plane. Classes, holes and even steps of an autoencoder, a VAE and a GAN."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from vaegan.charts import Axis
from vaegan.data import to_uint8
from vaegan.pictures import grid, save_png
from vaegan.studies import measures
from vaegan.studies.sheets import open_pictures
from vaegan.studies.study import Numbers, Picture, Results, Setting, Story, Study, Subject, TrainedArm, slug, some

AE, VAE, GAN = "autoencoder", "VAE", "GAN from scratch"
POINTS, SAMPLES, LINES = 1000, 500, 64


def arms(setting: Setting) -> Sequence[TrainedArm]:
    """Networks with two latents, trained three ways."""
    setting.labels()
    base = replace(setting.base, network=replace(setting.base.network, latent_dim=2))
    named = ((AE, "ae"), (VAE, "vae"), (GAN, "gan"))
    return [TrainedArm(label, replace(base, recipe=recipe)) for label, recipe in named]


def measure(subject: Subject) -> Numbers:
    """Holes, even steps, and for the two with an encoder the error and the classes."""
    dataset, model = subject.setting.dataset, subject.model
    heldout, train = measures.heldout_images(dataset, POINTS), measures.training_images(dataset, 5000)
    prior = measures.Place.prior(2)
    limit = float(measures.nearest_distance(heldout, train).quantile(0.95))  # that 95% of held-out images keep
    found: Numbers = {"limit": limit, "pca_error": measures.principal_error(train, heldout, 2)}
    place, ends = prior, prior.draw(2 * LINES, 3)
    if model.has_encoder:
        encoded = model.encode(heldout).cpu()
        place, ends = measures.Place.of(encoded), encoded[: 2 * LINES]
        classes = torch.from_numpy(dataset.coded(subject.setting.labels())[0][measures.heldout_indices(dataset, POINTS)])
        found |= measures.autoencoding(model, heldout) | {
            "accuracy": measures.neighbour_accuracy(encoded, classes),
            "commonest": float(classes.bincount().max()) / len(classes),
            "spread": float(encoded.std(0).mean()),
        }
        if subject.arm.label == AE:
            del found["kl"]  # of the decoder's noise-free latents to N(0, I): nothing that was trained or means anything
        found["points"] = torch.cat([encoded, classes[:, None]], 1)[:600].tolist()
    half = len(ends) // 2
    found["unevenness"] = measures.unevenness(model, ends[:half], ends[half : 2 * half])
    for name, where in (("near_prior", prior), ("near_fitted", place)):
        distances = measures.nearest_distance(model.decode(where.draw(SAMPLES, 5)).cpu(), train)
        found[name] = float((distances <= limit).float().mean())
    save_png(grid(to_uint8(measures.manifold(model, place))), subject.folder / "manifold.png")
    return found


def tell(results: Results) -> Story:
    """The plane in words."""
    mean, words = results.mean, results.setting.dataset.coded(results.setting.labels())[1]
    pca = mean(results.labels[0], "pca_error")  # of the data: every arm has it
    sentences = some(
        lambda: (
            f"Two numbers an image. Held-out error: autoencoder {mean(AE, 'error'):.4f}, VAE {mean(VAE, 'error'):.4f}, two "
            f"principal components {pca:.4f}: the autoencoder is {abs(1 - mean(AE, 'error') / pca):.0%} "
            f"{'below' if mean(AE, 'error') < pca else 'above'} them. Its latents have a free hand and spread to a deviation of "
            f"{mean(AE, 'spread'):.1f}; the VAE pays {mean(VAE, 'kl'):.1f} nats to keep its at {mean(VAE, 'spread'):.2f}."
        ),
        lambda: (
            f"Holes: of {SAMPLES} latents drawn from N(0, I), {mean(AE, 'near_prior'):.0%} decode to something near the data "
            f"with the autoencoder, {mean(VAE, 'near_prior'):.0%} with the VAE, {mean(GAN, 'near_prior'):.0%} with the GAN. "
            "(Near: as near to a training image as 95% of held-out images are.) Drawn from a Gaussian fitted to its encodings "
            f"the autoencoder reaches {mean(AE, 'near_fitted'):.0%}, the VAE "
            f"{mean(VAE, 'near_fitted'):.0%}. " + _holes(results)
        ),
        lambda: (
            f"Continuity: along a line between two latents the largest of 32 steps changes the image "
            f"{mean(AE, 'unevenness'):.1f} times as much as the mean step (autoencoder), {mean(VAE, 'unevenness'):.1f} (VAE), "
            f"{mean(GAN, 'unevenness'):.1f} (GAN); 1 would be perfectly even."
        ),
        lambda: (
            f"Classes: the five nearest encodings name the class of {mean(AE, 'accuracy'):.0%} (autoencoder) and "
            f"{mean(VAE, 'accuracy'):.0%} (VAE) of held-out images, though neither was given the {len(words)} classes. "
            f"(Always naming the commonest is right for {mean(AE, 'commonest'):.0%}.)"
        ),
    )
    runs = results.folders(results.labels)
    sheet = open_pictures({label: run / "manifold.png" for label, run in runs.items()}, columns=2)
    save_png(sheet, results.folder / "manifolds.png")
    caption = "What lies on the plane: 20 x 20 images, at equal steps of probability of a Gaussian fitted to the encodings."
    planes = [_plane(results, label, words) for label in (AE, VAE) if label in results.labels]
    below = some(lambda: {"autoencoder_below_pca": 1 - mean(AE, "error") / pca})
    answer = {name: results.means(name) for name in ("near_prior", "unevenness")}
    return Story(sentences, [*planes, Picture("manifolds.png", caption)], answer | dict(*below))


def _plane(results: Results, label: str, words: Sequence[str]) -> Picture:
    points = results.of(label)[0].last["points"]
    clouds = {words[code]: [(x, y) for x, y, c in points if int(c) == code] for code in range(min(10, len(words)))}
    title, x, y = f"{label}: encodings of held-out images", Axis("first latent"), Axis("second latent")
    caption = f"Where the {label} puts held-out images, by class."
    return results.lines(f"plane-{slug(label)}.svg", clouds, title, x, y, caption, marks=True, joined=False)


def _holes(results: Results) -> str:
    ae, vae = (results.mean(label, "near_prior") for label in (AE, VAE))
    if vae > ae + 0.05:
        return "That is what the KL buys: a place to draw from."
    return "The KL has not bought a better place to draw from here; blurred images are near many, which this measure cannot see."


COLUMNS = {
    "error": "held-out error a value",
    "pca_error": "two principal components",
    "kl": "KL [nats]",
    "spread": "deviation of latents",
    "near_prior": "near the data, N(0, I)",
    "near_fitted": "near the data, fitted",
    "unevenness": "largest / mean step",
    "accuracy": "classes by neighbours",
    "commonest": "commonest class",
}

QUESTION = "What does the KL buy? Two latents of an autoencoder, a VAE and a GAN: classes, holes, even steps. Needs labels."
SOURCE = "both VAE tutorials: encodings coloured by class, the decoded manifold, gaps between clusters"
AE_VS_VAE = Study("ae-vs-vae", QUESTION, SOURCE, arms, measure, tell, COLUMNS)
