"""What single studies set and say, where a wrong word or setting would not be seen in numbers."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from vaegan.config import TrainConfig
from vaegan.data import open_dataset
from vaegan.networks import Gaussian
from vaegan.studies import ae_vs_vae, collapse, gan_losses, generator_loss, losses, page, vae_vs_gan, warm_start
from vaegan.studies.losses import LOSSES
from vaegan.studies.plan import Plan, make_again
from vaegan.studies.sheets import SMALLEST_LETTER, WIDEST, side_by_side
from vaegan.studies.study import Result, Results, Setting, Story


@pytest.fixture
def setting(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Setting:
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    base = TrainConfig()
    base = replace(base, data=replace(base.data, size=16))
    return Setting(open_dataset("faces:96", base.data), base, tmp_path)


def results_of(setting: Setting, numbers: dict[str, dict[str, float]]) -> Results:
    return Results(setting, setting.folder, [Result(label, 0, 64, 1.0, (one,)) for label, one in numbers.items()])


class TestLosses:
    def test_the_step_by_step_arm_takes_the_source_s_steps(self, setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = {}

        def stop(settings: object, *_: object) -> None:
            seen["settings"] = settings
            raise KeyboardInterrupt

        monkeypatch.setattr(losses, "VAE", stop)
        with pytest.raises(KeyboardInterrupt):
            losses.watch(SimpleNamespace(setting=setting, seed=0))  # pyright: ignore[reportArgumentType]
        settings = seen["settings"]
        assert (settings.optimizer, settings.learning_rate, settings.final_learning_rate) == ("adam", 1e-3, 1e-3)

    def test_a_collapsed_model_is_judged_by_latents_its_decoder_knows(self) -> None:
        """Its posterior is N(0, I); the decoder gives the mean image on that shell and nonsense in the middle."""

        def decode(latents: torch.Tensor) -> torch.Tensor:
            return torch.where(latents.norm(dim=1) > 3, 0.0, 9.0)[:, None, None, None].expand(-1, 1, 4, 4)

        def posterior(images: torch.Tensor) -> Gaussian:
            return Gaussian(torch.zeros(len(images), 64), torch.zeros(len(images), 64))

        model = SimpleNamespace(posterior=posterior, decode=decode)
        images = torch.randn(50, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        assert losses.drawn_error(model, images) == pytest.approx(float(images.square().mean()))  # pyright: ignore[reportArgumentType]

    def test_few_images_are_training_images_only(self, setting: Setting) -> None:
        prepared = losses.prepare_few(SimpleNamespace(setting=setting))["prepared"]  # pyright: ignore[reportArgumentType]
        few = open_dataset(setting.folder / "few.npy", setting.base.data)
        known = {bytes(image) for image in setting.dataset.images[setting.dataset.indices(0)]}
        assert prepared == len(few.images) == len(setting.dataset.indices(0))
        assert all(bytes(image) in known for image in few.images)

    def test_few_images_of_data_with_a_test_side_of_their_own_can_be_trained_on(self, setting: Setting, tmp_path: Path) -> None:
        random = np.random.default_rng(0)
        for name, count in (("train", 3000), ("t10k", 100)):
            pixels = random.integers(0, 255, (count, 16, 16), dtype=np.uint8)
            header = b"\0\0\x08\x03" + b"".join(side.to_bytes(4, "big") for side in pixels.shape)
            (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        setting = replace(setting, dataset=open_dataset(tmp_path, setting.base.data), folder=tmp_path / "study")
        setting.folder.mkdir()
        assert len(setting.dataset.indices(2)) == 100
        losses.prepare_few(SimpleNamespace(setting=setting))  # pyright: ignore[reportArgumentType]
        assert len(open_dataset(setting.folder / "few.npy", setting.base.data).indices(0)) == losses.FEW_IMAGES

    @pytest.mark.parametrize(
        ("gaps", "errors", "said"),
        [
            ((0.1, 0.9), (0.05, 0.07), "KL regularises"),
            ((0.1, 0.9), (0.09, 0.07), "making training images worse"),
            ((0.9, 0.1), (0.05, 0.07), "does not narrow"),
            ((0.01, 0.02), (0.05, 0.07), "not learned by heart yet"),
        ],
    )
    def test_whether_kl_regularises_is_read_from_gap_and_error(
        self, setting: Setting, gaps: tuple[float, float], errors: tuple[float, float], said: str
    ) -> None:
        both = zip((losses.FEW_SUM, losses.FEW_NO_KL), gaps, errors, strict=True)
        numbers = {label: {"gap": gap, "error": error, "known": 450.0} for label, gap, error in both}
        words = losses.regularises(results_of(setting, numbers | {losses.PREPARED: {"prepared": 500}}))
        assert said in words
        # Where there are no more, few images are the same images.
        words = losses.regularises(results_of(setting, numbers | {losses.PREPARED: {"prepared": 180}}))
        assert words.startswith("There are fewer than 500 training images")


class TestGeneratorLoss:
    def test_the_gradient_is_followed_as_it_is_by_two_arms(self, setting: Setting) -> None:
        arms = {arm.label: arm.config for arm in generator_loss.arms(setting)}
        assert {config.recipe for config in arms.values()} == {"classic-gan"}
        classic = {label: config.classic for label, config in arms.items()}
        plain = [classic[label] for label in (generator_loss.SATURATING_PLAIN, generator_loss.NON_SATURATING_PLAIN)]
        assert [one.objective for one in plain] == ["saturating", "non-saturating"]
        assert {one.optimizer for one in plain} == {"sgd"}
        assert {one.critic_optimizer for one in classic.values()} == {"adam"}
        assert {one.critic_steps for one in classic.values()} == {5}
        for label, one in classic.items():
            assert (one.penalty > 0) == label.endswith("R1 + R2")

    @pytest.mark.parametrize(
        ("looks", "other", "recall", "said"),
        [
            ((500, 501), 450, 0.5, "stands where it first stood"),
            ((500, 501), 600, 0.5, "stands where it first stood"),
            ((500, 501), 450, 0.0, "reaches next to no real image"),
            ((700, 500), 450, 0.5, "Where the gradient is small"),
            ((700, 460), 450, 0.5, "has not helped"),
        ],
    )
    def test_whether_learning_vanishes_is_read_from_the_distances(
        self, setting: Setting, looks: tuple[int, int], other: int, recall: float, said: str
    ) -> None:
        saturating = tuple({"seen": 8 * (at + 1), "distance": look, "gradient": 1e-9} for at, look in enumerate(looks))
        last = {"seen": 16, "distance": other, "gradient": 9.0, "recall": recall}
        results = Results(
            setting,
            setting.folder,
            [
                Result(generator_loss.SATURATING_PLAIN, 0, 64, 1.0, saturating),
                Result(generator_loss.NON_SATURATING_PLAIN, 0, 64, 1.0, (last,)),
            ],
        )
        assert said in generator_loss.plainly(results)

    def test_a_gradient_that_is_not_larger_is_not_called_so(self, setting: Setting) -> None:
        numbers = {generator_loss.SATURATING_PLAIN: 0.1, generator_loss.NON_SATURATING_PLAIN: 0.0}
        shared = {"seen": 8.0, "recall": 0.5}
        both = [
            Result(label, 0, 64, 1.0, tuple(shared | {"distance": distance, "gradient": gradient} for distance in (600.0, 450.0)))
            for label, gradient in numbers.items()
        ]
        words = generator_loss.plainly(Results(setting, setting.folder, both))
        assert "larger" not in words


def test_an_autoencoder_has_no_divergence(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        has_encoder, latent_dim, has_observation_noise = True, 2, False
        config = SimpleNamespace(variance=None)

        def encode(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)[:, :2]

        def posterior(self, images: torch.Tensor) -> Gaussian:
            return Gaussian(self.encode(images), torch.zeros(len(images), 2))

        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            return latents.mean(1)[:, None, None, None].expand(-1, 3, 16, 16)

        def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
            return self.decode(self.encode(images))

    monkeypatch.setattr(Setting, "labels", lambda self: next(iter(self.dataset.label_words)))
    for label, expected in ((ae_vs_vae.AE, False), (ae_vs_vae.VAE, True)):
        subject = SimpleNamespace(
            setting=setting, dataset=setting.dataset, model=Model(), arm=SimpleNamespace(label=label), folder=setting.folder
        )
        found = ae_vs_vae.measure(subject)  # pyright: ignore[reportArgumentType]
        assert ("kl" in found) == expected
        assert 0.3 < found["commonest"] <= 1


class TestSheets:
    @pytest.mark.parametrize(("side", "columns", "widest"), [(2000, 3, WIDEST), (600, 4, 1100), (300, 2, WIDEST)])
    def test_a_sheet_is_no_wider_than_a_page_shows(self, side: int, columns: int, widest: int) -> None:
        pictures = {f"arm {index}": Image.new("L", (side, side), 90) for index in range(4)}
        sheet = side_by_side(pictures, columns, widest)
        assert sheet.width <= widest + 60
        assert sheet.width >= min(widest, columns * side)

    def test_names_do_not_touch(self) -> None:
        names = ["non-saturating + R1 + R2", "n"]
        sheet = side_by_side({name: Image.new("RGB", (50, 50), "white") for name in names}, 2, WIDEST).convert("L")
        dark = [x for x in range(sheet.width) if sheet.crop((x, 0, x + 1, sheet.height)).getextrema()[0] < 128]
        assert max(after - before for before, after in pairwise(dark)) >= SMALLEST_LETTER

    def test_names_grow_with_the_sheet(self) -> None:
        def height_of_name(side: int) -> int:
            sheet = side_by_side({"H": Image.new("RGB", (side, side), "white"), "-": Image.new("RGB", (side, side), "white")}, 2)
            _, top, _, bottom = ImageOps.invert(sheet.convert("L").crop((0, 0, side, sheet.height))).getbbox()
            return bottom - top

        assert height_of_name(900) >= 1.7 * height_of_name(300)


def test_a_table_leaves_out_arms_that_have_none_of_its_numbers(setting: Setting) -> None:
    numbers = {"measured": {"error": 0.5}, "only a curve": {"losses": 1.0}}
    plan = Plan("losses", "my faces", "", 1, None, 500, 64.0, replace(setting.base, guards="off"))
    page.write_report(LOSSES, results_of(setting, numbers), Story(), plan, 1.0)
    text = (setting.folder / "report.html").read_text("utf-8")
    assert ">measured<" in text
    assert "only a curve" not in text


def test_the_whole_command_that_makes_a_study_again_is_said(setting: Setting) -> None:
    plan = Plan("losses", "my faces", "", 3, 2.5, None, 64.0, setting.base)
    assert make_again(plan)[1] == "vaegan study losses 'my faces' --minutes 2.5 --seeds 3 --config settings.toml"
    assert "--images 500 " in make_again(replace(plan, minutes=None, images_asked=500))[1]


@pytest.mark.parametrize(
    ("equal", "slow", "said"),
    [
        ((8, 8, 8, 0), (1, 1, 0, 0), "so does the choice of the objective"),
        ((8, 8, 8, 7), (1, 1, 0, 0), "more than by the objective"),
        ((8, 8, 8, 7), (8, 7, 8, 7), "no great difference"),
    ],
)
def test_what_the_critic_s_pace_does_is_read_from_the_modes(equal: tuple[int, ...], slow: tuple[int, ...], said: str) -> None:
    assert said in collapse.pace(equal, slow)


def test_steps_left_out_are_judged_by_every_score(setting: Setting) -> None:
    numbers = {
        warm_start.ALL: ((100.0, 0.9), (104.0, 0.9)),
        "prior N(0, I)": ((103.0, 0.6), (105.0, 0.6)),
        "without anchor": ((140.0, 0.5), (141.0, 0.9)),
        "without refit": ((80.0, 0.95), (80.0, 0.95)),
    }
    results = [
        Result(label, seed, 64, 1.0, ({"distance": distance, "coverage": coverage},))
        for label, seeds in numbers.items()
        for seed, (distance, coverage) in enumerate(seeds)
    ]
    found = Results(setting, setting.folder, results)
    assert warm_start.without(found, "distance") == (["without anchor (+38.5)"], ["without refit (-22)"], ["prior N(0, I)"])
    assert warm_start.without(found, "coverage") == (["prior N(0, I) (-0.3)"], ["without refit (+0.05)"], ["without anchor"])


def test_a_gan_from_scratch_is_given_the_time_of_vae_and_handover(setting: Setting) -> None:
    """An image costs the VAE 1, the GAN that grows out of it 3.5 and one from scratch that over 1.1."""
    for study in (warm_start, vae_vs_gan):
        images = {arm.label: arm.images for arm in study.arms(setting)}
        assert images[study.SCRATCH] * 3.5 / 1.1 == pytest.approx(1 + 3.5)


@pytest.mark.parametrize(
    ("study", "labels"),
    [(gan_losses, ("relativistic", "least squares")), (vae_vs_gan, ("VAE", vae_vs_gan.GROWN))],
)
def test_scattered_samples_are_not_praised_for_their_recall(study: ModuleType, labels: tuple[str, str], setting: Setting) -> None:
    shared = {"distance": 9.0, "real_distance": 5.0, "sharpness": 1.0, "seen": 8}
    good, scattered = shared | {"recall": 0.1, "coverage": 0.6}, shared | {"recall": 0.9, "coverage": 0.0}
    story = study.tell(results_of(setting, dict(zip(labels, (good, scattered), strict=True))))
    assert story.answer["highest_coverage"] == labels[0]


@pytest.mark.parametrize(("quality", "said"), [(1, "lowest quality"), (8, "JPEG of equal error")])
def test_jpeg_that_cannot_be_as_coarse_is_not_called_equal(setting: Setting, quality: int, said: str) -> None:
    numbers = {"jpeg_bare": 70.0, "jpeg_bytes": 760.0, "psnr": 16.0, "latent_bytes": 64, "quality": quality}
    assert said in vae_vs_gan.compression(results_of(setting, {vae_vs_gan.VAE: numbers}))
