"""Outliers, duplicates, latents in files and as text, images from anywhere."""

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import Tensor

from vaegan.commands.shared import check_suffix
from vaegan.config import DataConfig, NetworkConfig
from vaegan.data import ImageDataset, open_images
from vaegan.errors import DataError, RequestError
from vaegan.latent.outliers import REASONS, Explained, explain, measure_of, share_above, strangeness, surprise
from vaegan.latent.similar import find_duplicates
from vaegan.latent.tables import SUFFIXES, LatentTable, parse_latent, read_latents, write_table
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks

LATENT, SIZE = 3, 16
CONFIG = DataConfig(size=SIZE, channels="1")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(stage: str = "vae", variance: float | None = 0.04) -> Model:
    torch.manual_seed(0)
    network = NetworkConfig(width=4, width_limit=8, latent_dim=LATENT)
    config = ModelConfig(size=SIZE, channels=1, stage=stage, network=network, variance=variance)  # pyright: ignore[reportArgumentType]
    return Model(config, Networks(config))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty smooth pictures, four of them again: the same file, slightly changed, enlarged, and two in a chain."""
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "pictures"
    place.mkdir()
    generator = np.random.default_rng(0)
    pictures = [
        np.asarray(Image.fromarray(generator.integers(0, 256, (4, 4), np.uint8)).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        for _ in range(40)
    ]
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(place / f"{index:02}.png")
    Image.fromarray(pictures[3]).save(place / "again-03.png")
    Image.fromarray((pictures[7] * 0.98 + 2).astype(np.uint8)).save(place / "again-07.png")
    Image.fromarray(pictures[9]).resize((64, 64), Image.Resampling.BICUBIC).save(place / "again-09.png")
    for step in (1, 2):
        Image.fromarray(np.clip(pictures[11].astype(int) + 4 * step, 0, 255).astype(np.uint8)).save(
            place / f"again-11-{step}.png"
        )
    return place


class TestDuplicates:
    @pytest.mark.parametrize("block", [3, 512])
    def test_finds_exactly_what_was_put_in(self, folder: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vaegan.latent.similar.BLOCK", block)
        dataset, model = open_images([folder], CONFIG), build()
        groups = find_duplicates(model.encode(dataset.load(range(len(dataset)))), dataset, tolerance=6)
        names = [[dataset.names[index] for index in group.members] for group in groups]
        assert names == [
            ["11.png", "again-11-1.png", "again-11-2.png"],
            ["03.png", "again-03.png"],
            ["07.png", "again-07.png"],
            ["09.png", "again-09.png"],
        ]
        assert groups[1].difference == 0
        assert 3 < groups[0].difference <= 6
        exact = find_duplicates(model.encode(dataset.load(range(len(dataset)))), dataset, tolerance=0)
        assert [len(group.members) for group in exact] == [2]


class TestOutliers:
    def test_a_vae_scores_by_its_negative_bound(self) -> None:
        model, images = build(), random(5, 1, SIZE, SIZE).clamp(-1, 1)
        posterior = model.posterior(images)
        decoded = model.networks.decoder(posterior.mean)
        likelihood = stats.norm(decoded.numpy(), 0.2).logpdf(images.numpy()).sum((1, 2, 3))
        normal = torch.distributions.Normal
        exact = normal(posterior.mean, (posterior.log_var / 2).exp())
        divergence = torch.distributions.kl_divergence(exact, normal(0.0, 1.0)).sum(1)
        assert np.allclose(surprise(model, images).numpy(), divergence.numpy() - likelihood, rtol=1e-4)
        assert "ELBO" in measure_of(model)

    @pytest.mark.parametrize("stage", ["gan", "ae"])
    def test_without_likelihood_or_prior_the_error_counts(self, stage: str) -> None:
        model, images = build(stage, None), random(5, 1, SIZE, SIZE).clamp(-1, 1)
        wanted = (model.reconstruct(images) - images).square().mean((1, 2, 3))
        assert torch.allclose(surprise(model, images), wanted, atol=1e-6)
        assert "squared error" in measure_of(model)

    def test_a_stranger_ranks_worst(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        generator = np.random.default_rng(1)
        Image.fromarray(generator.integers(0, 2, (SIZE, SIZE), np.uint8) * 255).save(folder / "noise.png")
        monkeypatch.setattr("vaegan.latent.outliers.BLOCK", 10)
        dataset, model = open_images([folder], CONFIG), build()
        found = explain(model, dataset, np.arange(len(dataset)))
        assert dataset.names[int(found.surprise.argmax())] == "noise.png"
        images = dataset.load(range(3))
        assert torch.allclose(found.surprise[:3], surprise(model, images), rtol=1e-4)
        assert torch.allclose(found.error[:3], (model.reconstruct(images) - images).square().mean((1, 2, 3)), rtol=1e-4)

    def test_what_is_strange_but_smooth_is_found(self) -> None:
        """Errors follow roughness to the power 0.8; one smooth image has the error of a rough one, which is ordinary outright."""
        roughness = random(400, seed=1).exp()
        error = roughness**0.8 * (0.1 * random(400, seed=2)).exp()
        ordinary = Explained(error, error, roughness)
        strange = Explained(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 1.0]), torch.tensor([0.05, 1.0]))
        scores, usual, reasons = strangeness(strange, ordinary)
        assert REASONS[int(reasons[0])].endswith("as rough")
        assert share_above(scores, usual)[0] < 0.01
        assert share_above(scores, usual)[1] > 0.2
        assert strangeness(ordinary, ordinary)[0].tolist() == usual.tolist()
        # The line is least squares', so what is left of ordinary images has no slope.
        line = np.polyfit(roughness.log().numpy(), error.log().numpy(), 1)
        left = error.log().double().numpy() - np.polyval(line, roughness.log().double().numpy())
        outright = ((error - error.mean()) / error.std()).double().numpy()
        assert np.allclose(usual.numpy(), np.maximum(outright, left / left.std(ddof=1)), atol=1e-4)
        assert np.array_equal(strangeness(ordinary, ordinary)[2].numpy(), left / left.std(ddof=1) > outright)

    def test_equal_images_are_no_division_by_zero(self) -> None:
        same = Explained(*torch.ones(3, 5))
        assert strangeness(same, same)[0].isfinite().all()

    def test_shares_are_calibrated(self) -> None:
        reference, fresh = random(999, seed=1), random(20_000, seed=2)
        shares = share_above(fresh, reference)
        for level in (0.01, 0.1, 0.5):
            assert float((shares <= level).double().mean()) == pytest.approx(level, abs=0.035 * level**0.5)
        assert share_above(torch.tensor([99.0, -99.0]), reference).tolist() == [0.001, 1.0]


class TestTables:
    @pytest.fixture
    def table(self) -> LatentTable:
        labels = {"class": np.array(["a", "ä", "a", "b"]), "age": np.arange(4, dtype=np.float32)}
        names = ["x/1.png", "x/ü.png", "3.png", "4.png"]
        return LatentTable(random(4, LATENT), names, random(4, 2).numpy(), labels, "vae")

    def test_latents_come_back_exactly(self, table: LatentTable, tmp_path: Path) -> None:
        path = tmp_path / "latents.npz"
        write_table(table, path)
        assert torch.equal(read_latents(path, LATENT), table.latents)
        with pytest.raises(DataError, match=r"latents \[n, 5\]"):
            read_latents(path, 5)

    def test_parquet_is_what_embedding_viewers_ask_for(self, table: LatentTable, tmp_path: Path) -> None:
        import pyarrow.parquet as parquet

        write_table(table, tmp_path / "x.parquet")
        content = parquet.read_table(tmp_path / "x.parquet")
        assert {"path", "vector", "projection_x", "projection_y", "class", "age"} == set(content.column_names)
        row = content.slice(1, 1).to_pylist()[0]
        assert (row["path"], row["class"], row["age"]) == ("x/ü.png", "ä", 1.0)
        assert row["vector"] == pytest.approx(table.latents[1].tolist())
        assert row["projection_y"] == pytest.approx(float(table.projection[1, 1]))

    def test_npz_needs_no_pickle(self, table: LatentTable, tmp_path: Path) -> None:
        write_table(table, tmp_path / "x.npz")
        with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
            assert list(arrays["names"]) == table.names
            assert list(arrays["class"]) == ["a", "ä", "a", "b"]
            assert str(arrays["stage"]) == "vae"

    def test_other_tools_arrays_are_read(self, tmp_path: Path) -> None:
        values = np.arange(6, dtype=np.float64).reshape(2, LATENT)
        np.save(tmp_path / "a.npy", values)
        np.savez(tmp_path / "b.npz", latents=values, other=np.zeros(7))
        for name in ("a.npy", "b.npz"):
            assert read_latents(tmp_path / name, LATENT).tolist() == values.tolist()

    def test_hostile_files_are_one_line(self, tmp_path: Path) -> None:
        np.save(tmp_path / "objects.npy", np.array([[{}]], dtype=object), allow_pickle=True)
        np.save(tmp_path / "nan.npy", np.full((2, LATENT), np.nan))
        np.savez(tmp_path / "two.npz", a=np.zeros((2, LATENT)), b=np.zeros((2, LATENT)))
        (tmp_path / "cut.npy").write_bytes((tmp_path / "nan.npy").read_bytes()[:140])
        (tmp_path / "bad.npz").write_bytes(b"PK no")
        (tmp_path / "text.txt").write_text("1,2,3")
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 3), }"
        claim = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n"
        (tmp_path / "claim.npy").write_bytes(claim)
        with zipfile.ZipFile(tmp_path / "claim.npz", "w") as archive:
            archive.writestr("latents.npy", claim)
        names = ["objects.npy", "nan.npy", "two.npz", "cut.npy", "bad.npz", "text.txt", "claim.npy", "claim.npz"]
        for name in [*names, "missing.npz"]:
            with pytest.raises(DataError) as refused:
                read_latents(tmp_path / name, LATENT)
            assert name in str(refused.value)
            assert "\n" not in str(refused.value)

    @pytest.mark.parametrize("name", ["many.npz", "many.npy"])
    def test_too_many_latents_are_refused_before_they_are_unpacked(self, tmp_path: Path, name: str) -> None:
        values = np.zeros((300_000, LATENT), np.int8)
        np.savez_compressed(tmp_path / "many.npz", latents=values)
        np.save(tmp_path / "many.npy", values)
        tracemalloc.start()
        with pytest.raises(DataError, match=r"holds 300,000 latents; give a file of 10 at most"):
            read_latents(tmp_path / name, LATENT, most=10)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < values.nbytes / 2

    def test_the_array_that_was_checked_is_the_one_that_is_read(self, tmp_path: Path) -> None:
        for name, values in (("large", np.ones((9, LATENT))), ("small", np.zeros((2, LATENT)))):
            np.save(tmp_path / f"{name}.npy", values)
        with zipfile.ZipFile(tmp_path / "two.npz", "w") as archive:
            archive.write(tmp_path / "large.npy", "latents")
            archive.write(tmp_path / "small.npy", "latents.npy")
        assert read_latents(tmp_path / "two.npz", LATENT, most=5).tolist() == [[0] * LATENT] * 2

    def test_labels_named_as_columns_are_kept_beside_them(self, tmp_path: Path) -> None:
        import pyarrow.parquet as parquet

        labels = {name: np.arange(4, dtype=np.float32) for name in ("vector", "file", "latents")}
        table = LatentTable(random(4, LATENT), list("abcd"), random(4, 2).numpy(), labels, "vae")
        for name in ("x.npz", "x.parquet"):
            write_table(table, tmp_path / name)
        assert torch.equal(read_latents(tmp_path / "x.npz", LATENT), table.latents)
        assert {"label vector", "file", "latents"} <= set(parquet.read_table(tmp_path / "x.parquet").column_names)
        assert {"vector", "label file", "label latents"} <= set(np.load(tmp_path / "x.npz").files)

    def test_numbers_too_large_for_float32_are_refused(self, tmp_path: Path) -> None:
        np.save(tmp_path / "large.npy", np.full((2, LATENT), 1e300))
        with pytest.raises(DataError, match="not finite"):
            read_latents(tmp_path / "large.npy", LATENT)

    def test_without_pyarrow_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("vaegan.extras.find_spec", lambda name: None)
        with pytest.raises(RequestError, match=r"\[parquet\]"):
            check_suffix(tmp_path / "x.parquet", SUFFIXES)
        check_suffix(tmp_path / "x.npz", SUFFIXES)
        with pytest.raises(RequestError, match=r"\.npz or \.parquet"):
            check_suffix(tmp_path / "x.csv", SUFFIXES)


class TestText:
    def test_copied_numbers_are_the_same_numbers(self) -> None:
        latent = random(LATENT) * torch.tensor([1e-20, 1.0, 1e6])
        assert torch.equal(parse_latent(",".join(f"{value:.9g}" for value in latent.tolist()), LATENT), latent)

    @pytest.mark.parametrize("text", ["1 2 3", "[1, 2, 3]", "1;2;3", " 1,\n2\t3 ,", "(1.0,2e0,+3)"])
    def test_ways_to_write_it(self, text: str) -> None:
        assert parse_latent(text, 3).tolist() == [1, 2, 3]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("1,2", "has 2 numbers"),
            ("", "has 0 numbers"),
            ("1,2,x", "'x'"),
            ("1,2,nan", "'nan'"),
            ("1,2,1e99", "'1e99'"),
            ("1," * 600_000, "too long"),
        ],
    )
    def test_what_is_no_latent(self, text: str, words: str) -> None:
        with pytest.raises(RequestError, match=words):
            parse_latent(text, 3)


class TestOpenImages:
    def test_files_and_folders(self, folder: Path) -> None:
        files = [folder / "03.png", folder / "again-03.png", folder / "04.png"]
        few = open_images(files, CONFIG)
        assert few.names == [str(file) for file in files]
        assert few.contents[0] == few.contents[1] != few.contents[2]
        whole = open_images([folder], CONFIG)
        assert isinstance(whole, ImageDataset)
        assert len(whole) == 45
        assert np.array_equal(few.images[2], whole.images[whole.names.index("04.png")])
        assert torch.equal(few.load([1]), few.load([0]))

    def test_what_cannot_be_opened(self, folder: Path) -> None:
        with pytest.raises(RequestError, match="Which images"):
            open_images([], CONFIG)
        with pytest.raises(RequestError, match="is a folder"):
            open_images([folder / "03.png", folder], CONFIG)
        with pytest.raises(DataError, match=r"missing\.png"):
            open_images([folder / "missing.png"], CONFIG)
        with pytest.raises(DataError, match="does not exist"):
            open_images([folder / "missing"], CONFIG)
