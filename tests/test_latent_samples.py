"""One liked sample: its address, the latent in its file, and images that resemble it."""

import contextlib
import io
import json
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vaegan.cli import main
from vaegan.config import NetworkConfig
from vaegan.errors import RequestError
from vaegan.explorer.state import Explorer
from vaegan.latent.samples import parse_address, read_kept
from vaegan.latent.walks import vary_latents
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.priors import fit_mixture

LATENT = 6


def save_model(folder: str, seed: int = 0, stage: str = "vae", has_encoder: bool = True, labels: tuple[str, ...] = ()) -> Model:
    torch.manual_seed(seed)
    network = NetworkConfig(width=4, width_limit=8, latent_dim=LATENT)
    config = ModelConfig(size=16, channels=3, stage=stage, network=network, has_encoder=has_encoder, labels=labels)  # pyright: ignore[reportArgumentType]
    networks = Networks(config)
    if networks.mixture is not None:
        latents = torch.randn(300, LATENT, generator=torch.Generator().manual_seed(seed)) * 2 + 1
        networks.mixture.load_state_dict(fit_mixture(latents, 3).state_dict())
    Model(config, networks).save_pretrained(folder)
    return Model.from_pretrained(folder)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model() -> Model:
    return save_model("m")


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    capsys.readouterr()
    main([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    main(list(arguments))
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        main(list(arguments))
    assert exit.value.code == 2
    return capsys.readouterr().err


def pixels(path: str | Path | io.BytesIO) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def encoded(capsys: pytest.CaptureFixture[str], *places: str, run: str = "m", more: tuple[str, ...] = ()) -> torch.Tensor:
    told(capsys, "encode", run, *places, "--out", "latents.npz", *more)
    return torch.from_numpy(np.load("latents.npz")["latents"])


def with_notes(source: str, target: str, **notes: str) -> None:
    """The picture of a file again, with other notes."""
    with Image.open(source) as picture:
        metadata = PngInfo()
        for name, text in ({name: str(text) for name, text in picture.info.items()} | notes).items():
            metadata.add_text(name, text)
        picture.save(target, pnginfo=metadata)


class TestModel:
    @pytest.mark.parametrize(("first", "count"), [(0, 70), (5, 3), (63, 2), (64, 64), (130, 1), (7, 0)])
    def test_samples_from_a_number_on_are_those_of_the_whole(self, model: Model, first: int, count: int) -> None:
        assert torch.equal(model.latents(count, 3, first=first), model.latents(200, 3)[first : first + count])
        assert torch.equal(model.sample(count, 3, first=first), model.sample(200, 3)[first : first + count])

    def test_labels_stay_at_their_places(self) -> None:
        model = save_model("c", labels=("x", "y", "z"))
        assert torch.equal(model.sample(70, 3, first=50), model.sample(120, 3)[50:])
        codes = torch.arange(70) % 3
        assert torch.equal(model.sample(70, 3, first=50, labels=(codes + 50) % 3), model.sample(70, 3, first=50))
        shared = [list(model.sample_blocks(100, 1, first=60, share=(rank, 2))) for rank in range(2)]
        assert torch.equal(torch.cat([shared[0][0], shared[1][0], shared[0][1]]), model.sample(100, 1, first=60))

    def test_a_far_sample_costs_no_more(self, model: Model) -> None:
        tracemalloc.start()
        model.sample(1, first=10**11)
        assert tracemalloc.get_traced_memory()[1] < 10**7
        tracemalloc.stop()
        with pytest.raises(RequestError, match="-1 is no number"):
            model.latents(1, first=-1)


class TestAddresses:
    def test_a_file_and_an_address_give_the_latent_bit_for_bit(self, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        main(["sample", "m", "--seed", "2", "-n", "70", "--out", "many"])
        wanted = model.latents(70, seed=2)
        assert torch.equal(encoded(capsys, "many/00037.png", "2:37", "2:69"), wanted[[37, 37, 69]])
        assert torch.equal(encoded(capsys, "many"), wanted)
        assert not torch.allclose(model.encode(model.sample(1, 2)), wanted[:1], atol=0.1)  # encoding again would lose it

    def test_a_sample_does_not_depend_on_how_many_are_asked_for(self, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        for count in ("5", "64"):
            main(["sample", "m", "-n", count, "--out", count])
        main(["sample", "m", "0:3", "7:100", "--out", "two"])
        main(["sample", "m", "0:3", "--out", "one.png"])
        for number in range(5):
            assert np.array_equal(pixels(f"5/{number:05d}.png"), pixels(f"64/{number:05d}.png"))
        assert sorted(path.name for path in Path("two").iterdir()) == ["0-00003.png", "7-00100.png"]
        assert np.array_equal(pixels("two/0-00003.png"), pixels("64/00003.png"))
        assert torch.equal(encoded(capsys, "one.png", "two/7-00100.png")[0], model.latents(4)[3])

    def test_seeds_are_a_range_and_their_first_samples(self, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        assert told(capsys, "sample", "m", "--seeds", "3:5", "9", "--out", "seeds")["count"] == 4
        names = ["3-00000.png", "4-00000.png", "5-00000.png", "9-00000.png"]
        assert sorted(path.name for path in Path("seeds").iterdir()) == names
        wanted = torch.cat([model.latents(1, seed) for seed in (3, 4, 5, 9)])
        assert torch.equal(encoded(capsys, *(f"seeds/{name}" for name in names)), wanted)
        told(capsys, "sample", "m", "--seeds", "3:5", "-n", "2", "--out", "rows.png")
        assert pixels("rows.png").shape[:2] == (2 + 3 * 66, 2 + 2 * 66)
        assert told(capsys, "morph", "m", "--seeds", "3:5", "--steps", "2")["stops"] == 3

    def test_every_command_takes_addresses(self, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        latents = model.latents(2, seed=4, first=8)
        main(["interpolate", "m", "4:8", "4:9", "--steps", "2", "--out", "way.png"])
        main(["sample", "m", "4:8", "4:9", "--out", "ends.png"])
        assert np.abs(pixels("way.png")[2:66].astype(int) - pixels("ends.png")[2:66]).max() <= 1
        assert told(capsys, "morph", "m", "4:8", "4:9", "--steps", "2")["stops"] == 2
        assert list(told(capsys, "vary", "m", "4:8", "-n", "2")["mean_change"]) == ["4:8"]
        main(["sample", "m", "--like", "4:8", "4:9", "-n", "5", "--strength", "0.7", "--seed", "6", "--out", "like"])
        found = encoded(capsys, *(f"like/{number:05d}.png" for number in range(5)))
        rays = [vary_latents(latent, 3, 0.7, 6) for latent in latents]
        assert torch.equal(found, torch.stack([rays[0][0], rays[1][0], rays[0][1], rays[1][1], rays[0][2]]))
        main(["sample", "m", "--like", "4:8", "-n", "1", "--strength", "0", "--out", "same.png"])
        assert torch.equal(encoded(capsys, "same.png"), latents[:1])

    def test_a_gan_without_encoder_takes_its_own_samples(self, capsys: pytest.CaptureFixture[str]) -> None:
        model = save_model("g", stage="gan", has_encoder=False)
        main(["sample", "g", "-n", "3", "--out", "own"])
        main(["vary", "g", "0:1", "own/00002.png"])
        main(["direction", "g", "--principal", "1"])
        main(["edit", "g", "0:1", "own/00002.png", "--direction", "principal-1", "--out", "edited"])
        first, second = (read_kept(model, path) for path in sorted(Path("edited").iterdir()))
        assert first is not None
        assert second is not None
        assert torch.allclose(first.latent - second.latent, model.latents(3)[1] - model.latents(3)[2], atol=1e-5)
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save("mine.png")
        assert "no encoder" in refused(capsys, "vary", "g", "0:1", "mine.png")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["sample", "m", "0:9999999999999999"], "no sample 0:9999999999999999"),
            (["sample", "m", "9999999999999999999:0"], "seed 9999999999999999999"),
            (["sample", "m", "mine.png"], "--like mine.png"),
            (["sample", "m", "0:1", "-n", "3"], "-n 3"),
            (["sample", "m", "0:1", "--seeds", "3"], "one of the three"),
            (["sample", "m", "--seeds", "7:3"], "--seeds 7:3"),
            (["sample", "m", "--seeds", "1:2:3"], "--seeds 1:2:3"),
            (["sample", "m", "--seeds", "0:9223372036854775807"], "10,000"),
            (["sample", "m", "--like", "0:1", "--temperature", "0.5"], "--temperature"),
            (["sample", "m", "--like", "0:1", "0:2", "-n", "1"], "-n 1"),
            (["sample", "m", "--strength", "1"], "--like"),
            (["vary", "m", "0:x"], "0:x"),
        ],
    )
    def test_what_is_no_sample(self, model: Model, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
        before = sorted(Path().iterdir())
        assert words in refused(capsys, *arguments)
        assert sorted(Path().iterdir()) == before

    def test_a_file_that_is_called_like_an_address_is_a_file(self) -> None:
        assert parse_address("0:37") == (0, 37)
        Path("0:37").touch()
        assert parse_address("0:37") is None


class TestLabels:
    def test_the_label_belongs_to_the_sample(self, capsys: pytest.CaptureFixture[str]) -> None:
        model = save_model("c", labels=("x", "y", "z"))
        main(["sample", "c", "-n", "5", "--out", "turn"])  # x y z x y
        main(["sample", "c", "--label", "z", "-n", "2", "--out", "z"])
        wanted = model.for_label("y").decode(model.latents(5))
        for places in (["0:1", "turn/00004.png"], ["0:4", "0:1"]):
            main(["interpolate", "c", *places, "--steps", "2", "--out", "way.png"])
            numbers = [1, 4] if places[0] == "0:1" else [4, 1]
            strip = pixels("way.png")[2:66]
            for at, number in enumerate(numbers):
                shown = strip[::4, 2 + 66 * at : 66 + 66 * at : 4].astype(float) / 127.5 - 1
                assert np.abs(shown.transpose(2, 0, 1) - wanted[number].numpy()).max() < 0.02
        assert torch.equal(encoded(capsys, "z/00001.png", run="c"), model.latents(2)[1:])
        assert "--label" in refused(capsys, "vary", "c", "0:1", "0:2")
        assert "--label" in refused(capsys, "vary", "c", "z/00001.png", "turn/00000.png")
        assert torch.equal(encoded(capsys, "0:1", "0:2", run="c", more=("--label", "x")), model.latents(3)[1:])


class TestFiles:
    @pytest.fixture
    def drawn(self, model: Model) -> str:
        main(["sample", "m", "0:0", "--out", "own"])
        return "own/0-00000.png"

    def test_it_is_said_what_was_used(self, drawn: str, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
        assert "keeps its latent" in said(capsys, "vary", "m", drawn)
        picture = pixels(drawn).copy()
        picture[3, 3] ^= 64
        with Image.open(drawn) as image:
            metadata = PngInfo()
            for name, text in image.info.items():
                metadata.add_text(name, text)
        Image.fromarray(picture).save("changed.png", pnginfo=metadata)
        assert "changed after it was drawn" in said(capsys, "vary", "m", "changed.png")
        Image.fromarray(picture).save("plain.png")
        assert torch.equal(encoded(capsys, "changed.png"), encoded(capsys, "plain.png"))
        assert "latent" not in said(capsys, "vary", "m", "plain.png")
        save_model("other", seed=1)
        assert "another model" in said(capsys, "vary", "other", drawn)

    @pytest.mark.parametrize(
        "latent",
        ["", "1,2,3", ",".join(["nan"] * LATENT), ",".join(["1e99"] * LATENT), "1," * 10**5, ",".join(["1" * 5000] * LATENT)],
    )
    def test_a_hostile_latent_is_not_used(
        self, drawn: str, model: Model, capsys: pytest.CaptureFixture[str], latent: str
    ) -> None:
        with_notes(drawn, "hostile.png", latent=latent)
        assert "the latent in the file is not used" in said(capsys, "vary", "m", "hostile.png")
        with Image.open(drawn) as picture:
            picture.save("plain.png")
        assert torch.equal(encoded(capsys, "hostile.png"), encoded(capsys, "plain.png"))

    def test_a_hostile_label_is_not_used(self, capsys: pytest.CaptureFixture[str]) -> None:
        model = save_model("c", labels=("x", "y"))
        main(["sample", "c", "0:0", "--out", "own"])
        with_notes("own/0-00000.png", "hostile.png", label="../../x")
        with pytest.raises(RequestError, match="none of this model"):
            read_kept(model, Path("hostile.png"))

    def test_huge_metadata_takes_no_memory(self, drawn: str, model: Model) -> None:
        content = Path(drawn).read_bytes()

        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        bomb = b"latent\0\0" + zlib.compress(bytes(2 * 10**8))
        for hostile in (chunk(b"zTXt", bomb), chunk(b"tEXt", b"latent\0" + b"1," * 10**7)):
            Path("hostile.png").write_bytes(content[:33] + hostile + content[33:])
            tracemalloc.start()
            with pytest.raises(RequestError):
                read_kept(model, Path("hostile.png"))
            assert tracemalloc.get_traced_memory()[1] < 2 * 10**7
            tracemalloc.stop()
        for cut in range(0, len(content) - 100, 97):
            with contextlib.suppress(RequestError):
                assert read_kept(model, content[:cut]) is None
        header = struct.pack(">IIBBBBB", 10**5, 10**5, 8, 2, 0, 0, 0)
        Path("wide.png").write_bytes(content[:8] + chunk(b"IHDR", header) + content[33:])
        with pytest.raises(RequestError, match="changed"):
            read_kept(model, Path("wide.png"))


def test_the_explorer_takes_a_samples_file_and_its_address(model: Model) -> None:
    main(["sample", "m", "0:37", "--out", "own"])
    explorer = Explorer(Path("m"))
    wanted = model.latents(38)[37].numpy().tobytes()
    content = Path("own/0-00037.png").read_bytes()
    for upload in (content, b"0:37"):
        latent, shown = explorer.encode_upload(upload)
        assert latent == wanted
        assert np.array_equal(np.frombuffer(shown, np.uint8), pixels(io.BytesIO(content)).ravel())
