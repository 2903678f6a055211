"""Directions and what surrounds them, against scikit-learn and closed forms."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from vaegan.config import DataConfig, NetworkConfig
from vaegan.data import ImageDataset, open_images
from vaegan.errors import RequestError
from vaegan.latent.directions import area_under_curve, discriminant, find_direction, heldout_area, shrunk_covariance
from vaegan.latent.learning import (
    Examples,
    encode_images,
    evenly,
    groups_of_label,
    learn_direction,
    learn_principal,
    shared_images,
    strength_along,
    unchanged_share,
)
from vaegan.latent.stored import Direction
from vaegan.latent.walks import moved
from vaegan.metrics.classifier import LogisticClassifier
from vaegan.metrics.neighbours import own_source_share
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks

LATENT = 6


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def groups() -> tuple[Tensor, Tensor]:
    """Two correlated Gaussians, 1.5 apart along a direction of small variance."""
    mix = torch.linalg.qr(random(LATENT, LATENT, seed=9)).Q * torch.tensor([2.0, 1, 1, 0.7, 0.5, 0.4])
    shift = torch.tensor([0.8, 0, 0, 0, 0.5, 0.6])
    return random(300, LATENT, seed=1) @ mix + shift, random(500, LATENT, seed=2) @ mix


@pytest.fixture(scope="module")
def both(groups: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    labels = torch.cat([torch.ones(300), torch.zeros(500)])
    return torch.cat(groups), labels


def logistic_regression(latents: Tensor, labels: Tensor, penalty: float = 1.0) -> tuple[Tensor, Tensor]:
    """Weights and bias of the difference of two classes, which half of the penalty on each of them holds."""
    fitted = LogisticClassifier(latents, labels.long(), 2, 2 * penalty, iterations=500, tolerance=1e-9)
    return fitted.weights[:, 1] - fitted.weights[:, 0], fitted.bias[1] - fitted.bias[0]


def cosine(first: Tensor, second: np.ndarray) -> float:
    other = torch.from_numpy(np.ravel(second)).double()
    return float(first.double() @ other / first.double().norm() / other.norm())


class TestClassifiers:
    @pytest.mark.parametrize("count", [4, 30, 500])
    def test_shrunk_covariance_is_scikit_learns(self, count: int) -> None:
        residuals = (random(count, 20) * torch.linspace(0.1, 3, 20)).double()
        wanted = LedoitWolf(assume_centered=True).fit(residuals.numpy()).covariance_
        assert np.allclose(shrunk_covariance(residuals).numpy(), wanted, rtol=1e-6, atol=1e-9)

    def test_equal_rows_are_no_division_by_zero(self) -> None:
        assert shrunk_covariance(torch.zeros(5, 3).double()).isfinite().all()

    @pytest.mark.parametrize("penalty", [0.1, 1.0, 100.0])
    def test_logistic_regression_is_scikit_learns(self, both: tuple[Tensor, Tensor], penalty: float) -> None:
        weights, bias = logistic_regression(*both, penalty)
        oracle = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(both[0].double().numpy(), both[1].numpy())
        assert np.allclose(weights.numpy(), oracle.coef_[0], atol=1e-4)
        assert float(bias) == pytest.approx(float(oracle.intercept_[0]), abs=1e-4)

    def test_it_works_inside_inference_mode(self, both: tuple[Tensor, Tensor]) -> None:
        with torch.inference_mode():
            assert torch.equal(logistic_regression(*both)[0], logistic_regression(both[0].clone(), both[1])[0])

    def test_separable_groups_have_finite_weights(self) -> None:
        weights, _ = logistic_regression(torch.tensor([[-1.0], [1.0]] * 10), torch.tensor([0, 1] * 10))
        assert 1 < float(weights[0]) < 100

    def test_discriminant_is_scikit_learns_with_the_same_covariance(self) -> None:
        codes = torch.arange(600) % 3
        mix = torch.linalg.qr(random(LATENT, LATENT, seed=5)).Q * torch.linspace(0.7, 1.4, LATENT)
        latents = random(600, LATENT) @ mix + random(3, LATENT, seed=6)[codes]
        weights, biases = discriminant(latents, codes)
        guessed = (latents.double() @ weights.T + biases).argmax(1).numpy()
        oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(latents.numpy(), codes.numpy())
        assert np.mean(guessed == oracle.predict(latents.numpy())) > 0.995

    def test_area_under_curve_is_scikit_learns_with_ties(self) -> None:
        positive, negative = (random(40, seed=1) * 2).round() + 1, (random(70, seed=2) * 2).round()
        wanted = roc_auc_score([1] * 40 + [0] * 70, torch.cat([positive, negative]).numpy())
        assert area_under_curve(positive, negative) == pytest.approx(wanted, abs=1e-12)
        assert area_under_curve(torch.ones(3), torch.ones(5)) == 0.5


class TestFindDirection:
    @pytest.mark.parametrize("method", ["mean", "whitened", "classifier"])
    def test_strength_one_is_the_distance_of_the_means(self, groups: tuple[Tensor, Tensor], method: str) -> None:
        difference = groups[0].mean(0) - groups[1].mean(0)
        direction = find_direction(*groups, method)
        assert float(direction.norm()) == pytest.approx(float(difference.norm()), rel=1e-5)
        assert float(direction @ difference) > 0

    def test_each_method_is_what_it_says(self, groups: tuple[Tensor, Tensor], both: tuple[Tensor, Tensor]) -> None:
        points, labels = both[0].double().numpy(), both[1].numpy()
        assert cosine(find_direction(*groups, "mean"), points[labels == 1].mean(0) - points[labels == 0].mean(0)) > 0.999999
        normal = LogisticRegression(tol=1e-10, max_iter=10_000).fit(points, labels).coef_
        assert cosine(find_direction(*groups, "classifier"), normal) > 0.99999
        residuals = np.concatenate([points[labels == c] - points[labels == c].mean(0) for c in (0, 1)])
        covariance = LedoitWolf(assume_centered=True).fit(residuals).covariance_
        whitened = np.linalg.solve(covariance, points[labels == 1].mean(0) - points[labels == 0].mean(0))
        assert cosine(find_direction(*groups, "whitened"), whitened) > 0.99999

    @pytest.mark.parametrize("method", ["mean", "whitened", "classifier"])
    def test_beside_others_it_changes_none_of_them(self, groups: tuple[Tensor, Tensor], method: str) -> None:
        others = list(random(2, LATENT, seed=4) * torch.tensor([[3.0], [0.1]]))
        direction = find_direction(*groups, method, others)
        for other in others:
            assert abs(float(direction @ other)) < 1e-5 * float(direction.norm() * other.norm())
        assert float(direction.norm()) == pytest.approx(float(find_direction(*groups).norm()), rel=1e-5)

    def test_what_cannot_be_is_refused(self, groups: tuple[Tensor, Tensor]) -> None:
        with pytest.raises(RequestError, match="the same to the model"):
            find_direction(groups[0], groups[0])
        with pytest.raises(RequestError, match="left"):
            find_direction(*groups, "mean", [groups[0].mean(0) - groups[1].mean(0)])

    def test_heldout_area_is_honest(self, groups: tuple[Tensor, Tensor]) -> None:
        # With more numbers than images every direction separates what it was learned from, and nothing else.
        noise = random(40, 200, seed=7), random(40, 200, seed=8)
        assert heldout_area(*noise, "whitened") < 0.65
        oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        points = torch.cat(groups).numpy()
        labels = np.repeat([1, 0], [300, 500])
        scores = oracle.fit(points, labels).decision_function(points)
        assert heldout_area(*groups, "whitened") == pytest.approx(roc_auc_score(labels, scores), abs=0.02)
        assert heldout_area(*groups, "whitened") > heldout_area(*groups, "mean") + 0.05


class TestQuality:
    def test_identity_is_kept_by_small_and_lost_by_large_changes(self) -> None:
        sources = random(20, 3, 16, 16)
        assert own_source_share(sources + 0.1 * random(20, 3, 16, 16, seed=3), sources) == 1
        assert own_source_share(sources.roll(1, 0), sources) == 0

    def test_moves_are_in_strengths_of_the_other(self) -> None:
        for other, strength in (([0.0, 4.0], 0.5), ([-1.0, 0.0], -1.0)):
            assert strength_along(torch.tensor([1.0, 2.0]), torch.tensor(other)) == strength

    def test_words_are_kept_across_and_lost_along(self) -> None:
        codes = torch.arange(200) % 2
        latents = 0.1 * random(200, 2) + torch.stack([codes.float(), torch.zeros(200)], 1)
        across, along = torch.tensor([0.0, 5.0]), torch.tensor([1.0, 0.0])
        zeros = latents[codes == 0]
        assert unchanged_share(latents, 7 * codes, torch.stack([zeros, zeros + across])) == 1
        assert unchanged_share(latents, 7 * codes, torch.stack([zeros, zeros + along])) == 0


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    """Faces as the package draws them, with their labels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        return open_images(["faces:90"], DataConfig(size=16, channels="3"))


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    network = NetworkConfig(width=4, width_limit=8, latent_dim=LATENT)
    return Model(config := ModelConfig(size=16, channels=3, stage="vae", network=network), Networks(config))


class TestGroups:
    def test_words_numbers_and_yes_no(self, dataset: ImageDataset) -> None:
        smiling = groups_of_label(dataset, "smiling")
        assert np.array_equal(smiling[0], np.flatnonzero(dataset.labels["smile"] > 0.2))
        assert sum(map(len, smiling)) == 90
        blond = groups_of_label(dataset, "hair_colour", word := dataset.label_words["hair_colour"][2])
        assert (dataset.labels["hair_colour"][blond[0]] == 2).all()
        assert word
        top, bottom = groups_of_label(dataset, "smile")
        values = dataset.labels["smile"]
        assert len(top) == pytest.approx(30, abs=1)
        assert values[top].min() > values[bottom].max()

    @pytest.mark.parametrize(
        ("name", "word", "message"),
        [
            ("beauty", None, "no label 'beauty'; it has smile"),
            ("hair_colour", None, "Which hair_colour"),
            ("hair_colour", "plaid", "no word 'plaid'"),
            ("hair_color", None, r"Did you mean hair_colour\?$"),
            ("hair_colour", "Blnd", r"Did you mean blond\?$"),
            ("smile", "yes", "is a number"),
        ],
    )
    def test_labels_that_do_not_exist(self, dataset: ImageDataset, name: str, word: str | None, message: str) -> None:
        with pytest.raises(RequestError, match=message):
            groups_of_label(dataset, name, word)

    def test_names_are_the_same_with_spaces_hyphens_and_underscores(self, dataset: ImageDataset) -> None:
        word = "two parts"
        words = dataset.label_words | {"hair_colour": (word, *dataset.label_words["hair_colour"][1:])}
        renamed = replace(dataset, label_words=words)
        for label, spelt in (("hair_colour", word), ("hair colour", "two-parts"), ("hair-colour", "two_parts")):
            assert (dataset.labels["hair_colour"][groups_of_label(renamed, label, spelt)[0]] == 0).all()
        both = replace(dataset, labels=dataset.labels | {"mouth open": dataset.labels["smile"]})
        exact = groups_of_label(both, "mouth open")[0]
        assert np.array_equal(exact, groups_of_label(dataset, "smile")[0])
        with pytest.raises(RequestError, match="no label 'mouth-open'"):  # which of the two?
            groups_of_label(both, "mouth-open")

    def test_a_number_that_many_images_have_is_of_one_group(self, dataset: ImageDataset) -> None:
        values = np.maximum(dataset.labels["smile"], 0)
        _, bottom = groups_of_label(replace(dataset, labels={"smile": values}), "smile")
        assert (values[bottom] == 0).all()
        assert (values == 0).sum() == len(bottom) > 30
        assert len(groups_of_label(replace(dataset, labels={"smile": -values}), "smile")[0]) == len(bottom)

    def test_too_few_or_many_shared_images_are_refused(self) -> None:
        many = np.arange(50, dtype=np.uint64)
        names = [f"{index}.png" for index in many]
        shared_images(many[:8], many[8:16], names)
        with pytest.raises(RequestError, match="positive images are too few: 1 "):
            shared_images(np.zeros(20, np.uint64), many, names)
        with pytest.raises(RequestError, match="negative images are too few"):
            shared_images(many, many[:7], names)
        with pytest.raises(RequestError, match=r"both groups: 5, .*\(15.png, 16.png, 17.png and 2 more\).*vaegan duplicates"):
            shared_images(many[:20], many[15:], names)
        shared, called = shared_images(many[:20][::-1], many[18:], names[:20][::-1])
        assert (shared.tolist(), called) == ([18, 19], ["19.png", "18.png"])

    def test_encoding_in_blocks_changes_nothing(
        self, dataset: ImageDataset, model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vaegan.latent.learning.BLOCK", 7)
        seen: list[int] = []
        indices = evenly(np.arange(90), 20)
        latents = encode_images(model, dataset, indices, lambda what, done, total: seen.append(done))
        assert torch.allclose(latents, model.encode(dataset.load(indices)), atol=1e-5)
        assert seen == [7, 14, 20]
        assert len(evenly(np.arange(5), 20)) == 5


class TestLearning:
    def test_a_direction_comes_with_its_quality(self, dataset: ImageDataset, model: Model) -> None:
        chosen = groups_of_label(dataset, "smiling")
        positive, negative = (Examples(dataset, indices) for indices in chosen)
        other = Direction("other", random(LATENT))
        beside = {"apart": Direction("apart", random(LATENT, seed=5))}
        others = {"other": other, "named otherwise": other}
        found = learn_direction(model, "named otherwise", positive, negative, "mean", beside, others, label="smiling")
        assert abs(float(found.vector @ beside["apart"].vector)) < 1e-5
        facts = found.facts
        assert (facts["positive"], facts["negative"], facts["beside"]) == (*map(len, chosen), ["apart"])
        assert 0 <= facts["auc"] <= 1
        assert 0 <= facts["identity_kept"] <= 1
        assert facts["identity_of"] == len(chosen[1])
        assert list(facts["moves"]) == ["other"]
        assert "hair_colour" in facts["kept"]
        assert "smiling" not in facts["kept"]
        assert math.isfinite(facts["pixel_change"])

    def test_images_in_both_groups_are_left_out_of_both(self, dataset: ImageDataset, model: Model) -> None:
        told: list[str] = []
        found = learn_direction(
            model, "half", Examples(dataset, np.arange(41)), Examples(dataset, np.arange(38, 90)), say=told.append
        )
        names = ", ".join(dataset.names[38:41])
        assert told == [f"3 images in both groups were left out: {names}."]
        assert (found.facts["positive"], found.facts["negative"], found.facts["in_both"]) == (38, 49, 3)
        apart = learn_direction(model, "half", Examples(dataset, np.arange(38)), Examples(dataset, np.arange(41, 90)))
        assert torch.equal(found.vector, apart.vector)

    def test_edits_add_up_and_can_be_undone(self, dataset: ImageDataset, model: Model) -> None:
        images = dataset.load(range(4))
        first, second = random(2, LATENT, seed=3)
        steps = [(first, 1.5), (second, -1.0)]
        latents = model.encode(images)
        assert torch.allclose(moved(latents, steps), latents + 1.5 * first - second, atol=1e-6)
        assert torch.allclose(moved(moved(latents, steps), [(first, -1.5), (second, 1.0)]), latents, atol=1e-5)
        assert torch.equal(moved(latents, []), latents)

    def test_principal_directions_are_named_by_rank(self, model: Model) -> None:
        found = learn_principal(model, random(50, LATENT), 3)
        assert [one.name for one in found] == ["principal-1", "principal-2", "principal-3"]
        effects = [one.facts["pixel_change"] for one in found]
        assert effects == sorted(effects, reverse=True)

    def test_a_gan_without_encoder_says_so(self, dataset: ImageDataset, model: Model) -> None:
        config = replace(model.config, stage="gan", has_encoder=False)
        gan = Model(config, Networks(config))
        with pytest.raises(RequestError, match="no encoder"):
            encode_images(gan, dataset, np.arange(9))
        assert len(learn_principal(gan, gan.latents(64), 2)) == 2
