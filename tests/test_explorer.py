"""The explorer's server without a browser: what it answers, and what it refuses."""

import asyncio
import io
import socket
import struct
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import uvicorn
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from vaegan.config import DataConfig, NetworkConfig
from vaegan.data import TEST, load_images, open_dataset, open_images, to_uint8
from vaegan.errors import RequestError
from vaegan.explorer import coordinates, protocol, server, state
from vaegan.explorer.coordinates import label_directions, principal_directions, raw_dimensions
from vaegan.explorer.encoding import Encodings, encode_dataset
from vaegan.explorer.protocol import Kind, Message
from vaegan.explorer.state import Explorer
from vaegan.model import Model
from vaegan.model_files import ModelConfig, Networks
from vaegan.priors import fit_mixture

HOME = "http://127.0.0.1:8484"
SOCKET = "ws://127.0.0.1:8484/socket"
LATENT, SIZE = 6, 16
SHOWN = 141  # of 150 drawn faces: the others are on the test side
HEADER = struct.Struct("<IBBH")


def small_model(stage: str, seed: int, channels: int = 3, has_encoder: bool = True, prior: str = "normal") -> Model:
    torch.manual_seed(seed)
    network = NetworkConfig(width=4, width_limit=8, latent_dim=LATENT)
    shape = {"size": SIZE, "channels": channels, "stage": stage, "network": network}
    config = ModelConfig(**shape, has_encoder=has_encoder, prior=prior)  # pyright: ignore
    return Model(config, Networks(config))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a VAE, the GAN that follows it, and the drawn faces as its images."""
    from vaegan.config_files import load_preset
    from vaegan.training.run import RunFolder, RunRecord, StagePlan

    path = tmp_path_factory.mktemp("runs") / "small"
    folder = RunFolder(path)
    config = load_preset("tiny")
    folder.write(
        RunRecord("faces:150", config, None, (StagePlan("vae", 16), StagePlan("gan", 16)), None, "", None, {}, status="finished")
    )
    small_model("vae", 0).save_pretrained(folder.model("vae"))
    small_model("gan", 1).save_pretrained(folder.model("gan"))
    return path


@pytest.fixture(scope="module")
def explorer(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Explorer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        opened = Explorer(run)
        opened.open_data(required=True)
        yield opened


@pytest.fixture
def client(explorer: Explorer) -> TestClient:
    return TestClient(server.build_app(explorer), base_url=HOME, headers={"origin": HOME})


def frame(kind: int, option: int, count: int, payload: bytes, number: int = 7) -> bytes:
    return HEADER.pack(number, kind, option, count) + payload


def asked(client: TestClient, *frames: bytes) -> list[tuple[tuple[int, ...], bytes]]:
    with client.websocket_connect(SOCKET) as connection:
        answers: list[tuple[tuple[int, ...], bytes]] = []
        for one in frames:
            connection.send_bytes(one)
            received = connection.receive_bytes()
            answers.append((HEADER.unpack_from(received), received[HEADER.size :]))
        return answers


def posted(explorer: Explorer, headers: list[tuple[bytes, bytes]], messages: list[dict[str, Any]]) -> int:
    """The status of an upload that comes in these messages, whose headers stand before those of the page."""
    sent: list[Any] = []
    arriving = iter(messages)
    own = [(b"host", HOME.removeprefix("http://").encode()), (b"origin", HOME.encode())]
    scope = {"type": "http", "method": "POST", "path": "/encode", "query_string": b"", "headers": [*headers, *own]}

    async def receive() -> Any:
        for message in arriving:
            return message
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(server.build_app(explorer)(scope | {"server": ("127.0.0.1", 8484)}, receive, send))
    return sent[0]["status"]


def latents(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, LATENT)).astype("<f4")


def test_the_first_images_are_shown_while_the_others_are_encoded(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on the map stays where it is, under the same number, and a second opening shows the same map."""
    monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path))
    monkeypatch.setattr("vaegan.explorer.encoding.AT_A_TIME", 16)
    for place in ("encoding", "state"):
        monkeypatch.setattr(f"vaegan.explorer.{place}.EARLY", 64)
    opened, early = Explorer(run), {}

    def look(what: str, done: int, total: int) -> None:
        if what == "Encoding" and opened.data_state == "ready" and not early:
            assert opened.encodings is not None
            description = opened.describe()
            axes = {one["name"]: one["move"] for one in description["directions"] if one["group"] == "principal"}
            chosen = struct.pack("<3I", 0, 5, 63)
            pictures = opened.answer(Message(1, Kind.IMAGES, 0, 3, chosen))
            early.update(description, axes=axes, pictures=pictures, latents=opened.encodings.latents, done=done)
            early["labels"] = opened.labels("hair_style")
            early["colours"] = opened.mean_colours()

    opened.on_progress = look
    opened.open_data(required=True)
    for explorer in (opened, Explorer(run)):
        explorer.open_data(required=True)
        assert explorer.encodings is not None
        assert explorer.dataset is not None
        after = explorer.describe()
        assert (early["done"], early["data"]["count"], early["data"]["growing"]) == (64, 64, True)
        assert (after["data"]["count"], after["data"]["growing"]) == (SHOWN, False)
        assert after["origin"] == early["origin"]
        assert early["axes"] == {one["name"]: one["move"] for one in after["directions"] if one["group"] == "principal"}
        assert np.array_equal(explorer.encodings.latents[:64], early["latents"])
        assert explorer.answer(Message(1, Kind.IMAGES, 0, 3, struct.pack("<3I", 0, 5, 63))) == early["pictures"]
        assert explorer.labels("hair_style").startswith(early["labels"])
        assert explorer.mean_colours().startswith(early["colours"])
        assert sorted(explorer.order) == np.flatnonzero(explorer.dataset.sides != TEST).tolist()
        wanted = explorer.model.encode(explorer.dataset.load(explorer.order[[2, 140]])).numpy()
        np.testing.assert_allclose(explorer.encodings.latents[[2, 140]], wanted, atol=1e-5)


class TestSocket:
    def test_decodes_as_the_model_does(self, client: TestClient, explorer: Explorer, run: Path) -> None:
        wanted = latents(3)
        (((number, status, kind, count), pixels),) = asked(client, frame(1, 0, 3, wanted.tobytes()))
        assert (number, status, kind, count) == (7, 0, 1, 3)
        oracle = to_uint8(Model.from_pretrained(run / "gan" / "model").decode(torch.from_numpy(wanted)))
        assert np.array_equal(np.frombuffer(pixels, np.uint8).reshape(oracle.shape), oracle)

    def test_the_vae_decodes_the_gans_latents(self, client: TestClient, run: Path) -> None:
        gan, vae = (Model.from_pretrained(run / stage / "model") for stage in ("gan", "vae"))
        theirs = gan.encode(torch.rand(2, 3, SIZE, SIZE) * 2 - 1)
        ((_, pixels),) = asked(client, frame(1, 1, 2, theirs.numpy().tobytes()))
        oracle = to_uint8(vae.decode(theirs))
        difference = np.frombuffer(pixels, np.uint8).reshape(oracle.shape).astype(int) - oracle
        assert np.abs(difference).max() <= 1

    def test_images_latents_neighbours_and_places(self, client: TestClient, explorer: Explorer) -> None:
        assert explorer.encodings is not None
        assert explorer.dataset is not None
        encoded = explorer.encodings.latents
        chosen = np.array([5, SHOWN - 1], "<u4").tobytes()
        axes = latents(3)
        answers = asked(
            client,
            frame(2, 0, 2, chosen),
            frame(3, 0, 2, chosen),
            frame(4, 3, 1, encoded[17].tobytes()),
            frame(5, 0, 3, axes.tobytes()),
        )
        assert all(header[1] == 0 for header, _ in answers)
        assert np.array_equal(np.frombuffer(answers[0][1], "<f4").reshape(2, LATENT), encoded[[5, SHOWN - 1]])
        assert answers[1][1] == np.asarray(explorer.dataset.images[explorer.order[[5, SHOWN - 1]]]).tobytes()
        distances = np.linalg.norm(encoded - encoded[17], axis=1)
        assert np.frombuffer(answers[2][1], "<u4").tolist() == np.argsort(distances, kind="stable")[:3].tolist()
        places = (encoded - axes[0]) @ axes[1:].T
        assert np.allclose(np.frombuffer(answers[3][1], "<f4").reshape(SHOWN, 2), places, atol=1e-5)

    @pytest.mark.parametrize(
        ("sent", "said"),
        [
            (b"", "incomplete"),
            (b"\x01\x02", "incomplete"),
            (frame(99, 0, 1, b""), "no request of kind 99"),
            (frame(1, 0, 0, b""), "1 to 64 images, not 0"),
            (frame(1, 0, 65, latents(65).tobytes()), "1 to 64 images, not 65"),
            (frame(1, 0, 1, latents(1)[:, 1:].tobytes()), "5 numbers do not fit; this model's have 6"),
            (frame(1, 2, 1, latents(1).tobytes()), "no stage 2"),
            (frame(1, 0, 1, np.full(LATENT, np.nan, "<f4").tobytes()), "not finite"),
            (frame(1, 0, 1, np.full(LATENT, np.inf, "<f4").tobytes()), "not finite"),
            (frame(2, 0, 1, np.array([SHOWN], "<u4").tobytes()), f"no image {SHOWN}; there are {SHOWN}"),
            (frame(3, 0, 2, b"\0\0\0"), "incomplete"),
            (frame(5, 0, 2, latents(2).tobytes()), "an origin and two axes"),
        ],
    )
    def test_refuses_in_one_line_and_goes_on(self, client: TestClient, sent: bytes, said: str) -> None:
        refused, served = asked(client, sent, frame(1, 0, 1, latents(1).tobytes()))
        assert refused[0][1] == 1
        assert said in refused[1].decode()
        assert served[0][1] == 0

    def test_huge_latents_still_give_pixels(self, client: TestClient) -> None:
        ((header, pixels),) = asked(client, frame(1, 0, 1, np.full(LATENT, 3e38, "<f4").tobytes()))
        assert header[1] == 0
        assert len(pixels) == SIZE * SIZE * 3


class TestGuards:
    @pytest.mark.parametrize(
        "host",
        ["evil.example", "127.0.0.1.evil.example:8484", "127.0.0.1:84.evil.example", "127.0.0.1:", ":84", "", "localhosts"],
    )
    def test_another_host_gets_nothing(self, client: TestClient, host: str) -> None:
        for path in ("/", "/model.json", "/main.js", "/labels/smile"):
            response = client.get(path, headers={"host": host, "origin": f"http://{host}"})
            assert (response.status_code, "vaegan" in response.text) == (403, False)

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:80", "localhost:9000"])
    def test_port_80_and_forwarded_ports_are_this_machine(self, client: TestClient, host: str) -> None:
        assert client.get("/model.json", headers={"host": host, "origin": f"http://{host}"}).status_code == 200
        assert client.get("/model.json", headers={"host": host, "origin": "http://localhost:1"}).status_code == 403

    @pytest.mark.parametrize(
        "origin", ["http://evil.example", "null", "https://127.0.0.1:8484", "http://127.0.0.1:9", "http://localhost:8484"]
    )
    def test_another_origin_gets_nothing(self, client: TestClient, origin: str) -> None:
        for call in (client.get, client.post):
            assert call("/encode", headers={"origin": origin}).status_code == 403
        assert client.post("/tsne", headers={"origin": origin}).status_code == 403
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(SOCKET, headers={"origin": origin}):
            pass

    def test_a_socket_or_a_post_without_origin_gets_nothing(self, explorer: Explorer) -> None:
        stranger = TestClient(server.build_app(explorer), base_url=HOME)
        assert stranger.get("/").status_code == 200
        assert stranger.post("/encode", content=b"x").status_code == 403
        with pytest.raises(WebSocketDisconnect), stranger.websocket_connect(SOCKET):
            pass

    @pytest.mark.parametrize("more", [(b"origin", b"http://evil.example"), (b"host", b"evil.example")])
    def test_two_origins_or_hosts_are_none(self, explorer: Explorer, more: tuple[bytes, bytes]) -> None:
        whole = [{"type": "http.request", "body": b"no image", "more_body": False}]
        assert posted(explorer, [], whole) == 400
        assert posted(explorer, [more], whole) == 403

    def test_an_upload_that_breaks_off_ends_without_a_traceback(self, explorer: Explorer) -> None:
        assert (
            posted(explorer, [], [{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.disconnect"}])
            == 400
        )

    def test_an_upload_that_never_ends_is_not_waited_for(self, explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "UPLOAD_SECONDS", 0.1)
        assert posted(explorer, [], [{"type": "http.request", "body": b"abc", "more_body": True}]) == 408

    def test_uploads_that_never_begin_keep_nobody_waiting(self, explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "SILENCE_SECONDS", 1.0)
        app, headers = server.build_app(explorer), [(b"host", HOME.removeprefix("http://").encode()), (b"origin", HOME.encode())]
        scope = {"type": "http", "method": "POST", "path": "/encode", "query_string": b"", "headers": headers}
        statuses: list[int] = []

        async def upload(*messages: dict[str, Any]) -> None:
            arriving = iter(messages)

            async def receive() -> Any:
                for message in arriving:
                    return message
                await asyncio.sleep(60)

            async def send(message: Any) -> None:
                if "status" in message:
                    statuses.append(message["status"])

            await app(scope | {"server": ("127.0.0.1", 8484)}, receive, send)

        async def all_at_once() -> None:
            silent = [asyncio.create_task(upload()) for _ in range(50)]
            await asyncio.sleep(0.1)
            await upload({"type": "http.request", "body": b"no image", "more_body": False})
            await asyncio.gather(*silent)

        asyncio.run(all_at_once())
        assert statuses == [400, *50 * [408]]

    def test_text_that_is_none_breaks_one_connection_and_says_nothing(
        self, explorer: Explorer, capfd: pytest.CaptureFixture[str]
    ) -> None:
        listening = server.open_port(8484)
        running = uvicorn.Server(server.configuration(server.build_app(explorer)))
        thread = threading.Thread(target=lambda: running.run(sockets=[listening]))
        thread.start()
        home = f"127.0.0.1:{listening.getsockname()[1]}"
        with connect(f"ws://{home}/socket", origin=Origin(f"http://{home}")) as broken:
            broken.send(b"\xff\xfe", text=True)
            with pytest.raises(ConnectionClosed):
                broken.recv(timeout=10)
        with connect(f"ws://{home}/socket", origin=Origin(f"http://{home}")) as whole:
            whole.send(frame(99, 0, 1, b""))
            assert b"no request of kind" in bytes(whole.recv(timeout=10))  # pyright: ignore
        running.should_exit = True
        thread.join()
        assert "Traceback" not in capfd.readouterr().err

    def test_localhost_is_home_too(self, explorer: Explorer) -> None:
        home = "http://localhost:8484"
        friend = TestClient(server.build_app(explorer), base_url=home, headers={"origin": home})
        assert friend.get("/model.json").status_code == 200

    def test_only_the_page_is_served(self, client: TestClient) -> None:
        assert client.get("/").headers["content-type"].startswith("text/html")
        assert client.get("/main.js").headers["content-type"].startswith("text/javascript")
        for path in (
            "/server.py",
            "/../server.py",
            "/..%2fserver.py",
            "/%2e%2e/state.py",
            "/page/main.js",
            "/nothing.js",
            "//etc/passwd",
        ):
            assert client.get(path).status_code in (404, 307), path
        policy = client.get("/").headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


class TestUploads:
    def test_an_image_becomes_its_latent(self, client: TestClient, run: Path) -> None:
        picture = Image.effect_noise((40, 30), 60).convert("RGB")
        content = io.BytesIO()
        picture.save(content, "PNG")
        answered = client.post("/encode", content=content.getvalue())
        assert answered.status_code == 200
        latent = np.frombuffer(answered.content[: 4 * LATENT], "<f4")
        pixels = np.frombuffer(answered.content[4 * LATENT :], np.uint8).reshape(1, SIZE, SIZE, 3)
        images = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2) / 127.5 - 1
        oracle = Model.from_pretrained(run / "gan" / "model").encode(images)[0].numpy()
        assert np.allclose(latent, oracle, atol=1e-4)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "empty"),
            (b"no image at all", "not an image"),
            (b"\x89PNG\r\n\x1a\n" + bytes(50), "cannot be used"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG files are not opened"),
        ],
    )
    def test_what_is_no_image_is_refused(self, client: TestClient, content: bytes, said: str) -> None:
        answered = client.post("/encode", content=content)
        assert answered.status_code == 400
        assert said in answered.json()["error"]

    def test_a_bomb_is_refused_before_it_is_unpacked(self, client: TestClient) -> None:
        content = io.BytesIO()
        Image.new("1", (12_000, 12_000)).save(content, "PNG")  # 144 million pixels in a few kilobytes
        assert len(content.getvalue()) < 100_000
        answered = client.post("/encode", content=content.getvalue())
        assert answered.status_code == 400
        assert "too many pixels" in answered.json()["error"]

    def test_too_many_bytes_are_refused_while_they_come(self, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "MAX_UPLOAD_BYTES", 1000)
        sent: list[int] = []

        def endless() -> Generator[bytes]:
            for index in range(100):
                sent.append(index)
                yield bytes(100)

        answered = client.post("/encode", content=endless())
        assert answered.status_code == 413
        assert "too large" in answered.json()["error"]


class TestRestoring:
    def body(self, rows: int) -> bytes:
        """A picture, and its lower rows to be made anew."""
        anew = np.zeros((SIZE, SIZE), np.uint8)
        anew[SIZE - rows :] = 1
        return self.picture().tobytes() + anew.tobytes()

    def picture(self) -> NDArray[np.uint8]:
        return np.random.default_rng(0).integers(100, 150, (SIZE, SIZE, 3), np.uint8)

    def test_answers_keep_what_was_not_painted_over(self, client: TestClient) -> None:
        answered = client.post("/restore", content=self.body(6))
        assert answered.status_code == 200
        answers = np.frombuffer(answered.content, np.uint8).reshape(4, -1)
        latents = answers[:, : 4 * LATENT].copy().view("<f4")
        pictures = answers[:, 4 * LATENT :].reshape(4, SIZE, SIZE, 3)
        assert np.isfinite(latents).all()
        assert len({latent.tobytes() for latent in latents}) == 4
        assert (pictures[:, :-6] == self.picture()[:-6]).all()

    def test_what_is_no_picture_or_no_part_is_refused(self, client: TestClient) -> None:
        for content, said in ((b"x", "bytes"), (self.body(0), "Paint over"), (self.body(SIZE), "leave a part")):
            answered = client.post("/restore", content=content)
            assert answered.status_code == 400
            assert said in answered.json()["error"]

    def test_sliders_do_not_wait_for_it_and_the_latest_wins(
        self, client: TestClient, explorer: Explorer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        began = threading.Event()

        def endless(_data: bytes, progress: Callable[..., None]) -> bytes:
            began.set()
            while True:
                progress("", 0, 1)
                time.sleep(0.01)

        with ThreadPoolExecutor(1) as beside, client:
            with monkeypatch.context() as patch:
                patch.setattr(explorer, "restore", endless)
                older = beside.submit(client.post, "/restore", content=b"")
                assert began.wait(10)
            ((_, status, *_), _) = asked(client, frame(1, 0, 1, latents(1).tobytes()))[0]
            assert status == 0
            assert client.post("/restore", content=self.body(6)).status_code == 200
            assert "newer" in older.result(10).json()["error"]

    def test_it_is_not_searched_for_ever(self, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "RESTORE_SECONDS", 0)
        assert "over 0 seconds" in client.post("/restore", content=self.body(6)).json()["error"]


class TestBinarized:
    """The images of a run with --binarize dynamic reach its encoder as its held-out images did: black and white."""

    @pytest.fixture
    def black_and_white(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        from vaegan.config_files import load_preset
        from vaegan.training.run import RunFolder, RunRecord, StagePlan

        monkeypatch.setenv("VAEGAN_CACHE", str(tmp_path / "cache"))
        folder, config = RunFolder(tmp_path / "run"), load_preset("tiny")
        config = replace(config, recipe="vae", data=DataConfig(size=SIZE, binarize="dynamic"))
        (tmp_path / "images").mkdir()
        for index in range(64):
            Image.effect_noise((SIZE, SIZE), index + 20).save(tmp_path / "images" / f"{index:02d}.png")
        source, plan = str(tmp_path / "images"), (StagePlan("vae", 16),)
        folder.write(RunRecord(source, config, None, plan, None, "", None, {}, status="finished"))
        small_model("vae", 0, channels=1).save_pretrained(folder.model("vae"))
        return folder.path

    def test_on_the_map_and_uploaded_alike(self, black_and_white: Path) -> None:
        grey = Explorer(black_and_white, data=str(black_and_white.parent / "images"))
        grey.data_config = replace(grey.data_config, binarize="none")
        opened = Explorer(black_and_white)
        for one in (grey, opened):  # what was kept for grey images is not taken for black and white ones
            one.open_data(required=True)
        assert opened.encodings is not None
        assert opened.dataset is not None
        assert opened.describe()["binarize"] is True
        assert set(opened.dataset.load([0]).unique().tolist()) == {-1, 1}
        wanted = opened.model.encode(opened.dataset.load(opened.order[:3])).numpy()
        np.testing.assert_allclose(opened.encodings.latents[:3], wanted, atol=1e-5)
        file = black_and_white.parent / "images" / opened.dataset.names[opened.order[0]]
        latent, pixels = opened.encode_upload(file.read_bytes())
        np.testing.assert_allclose(np.frombuffer(latent, "<f4"), wanted[0], atol=1e-5)
        assert set(pixels) == {0, 255}

    def test_named_in_a_command(self, black_and_white: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from vaegan.training.saved import images_config

        monkeypatch.chdir(black_and_white.parent)
        model = Model.from_pretrained(black_and_white / "vae" / "model")
        config = images_config(model, black_and_white, None)
        assert config.binarize == "dynamic"
        folder = open_images(["images"], config)
        place = folder.names.index("07.png")
        alone, again = load_images([Path("images/07.png")], config), open_images(["images/07.png"], config)
        assert set(alone.unique().tolist()) == {-1, 1}
        assert torch.equal(alone, folder.load([place]))
        assert torch.equal(alone, again.load([0]))
        assert len(np.unique(again.images)) > 2  # what is shown as the image is the image
        saved = images_config(model, black_and_white / "vae" / "model", None)
        assert saved.binarize == "none"


class TestDescription:
    def test_says_what_there_is(self, client: TestClient) -> None:
        described = client.get("/model.json").json()
        assert (described["height"], described["width"], described["channels"]) == (SIZE, SIZE, 3)
        assert described["latentDim"] == LATENT
        assert described["stages"] == ["gan", "vae"]
        assert described["data"]["state"] == "ready"
        assert described["data"]["count"] == SHOWN
        groups = [direction["group"] for direction in described["directions"]]
        assert groups == sorted(groups, key=["principal", "attribute", "dimension"].index)
        assert groups.count("principal") == groups.count("dimension") == LATENT
        assert "smiling" in [direction["name"] for direction in described["directions"]]

    def test_labels(self, client: TestClient, explorer: Explorer) -> None:
        assert explorer.dataset is not None
        values = np.frombuffer(client.get("/labels/hair_style").content, "<f4")
        assert np.array_equal(values, explorer.dataset.labels["hair_style"][explorer.order])
        assert client.get("/labels/nothing").status_code == 400

    def test_a_gan_without_encoder_says_what_it_cannot(self, tmp_path: Path) -> None:
        small_model("gan", 3, has_encoder=False).save_pretrained(tmp_path)
        alone = Explorer(tmp_path)
        alone.open_data()
        client = TestClient(server.build_app(alone), base_url=HOME, headers={"origin": HOME})
        described = client.get("/model.json").json()
        assert described["data"]["state"] == "absent"
        assert "without a VAE" in described["data"]["why"]
        assert described["canEncode"] is False
        assert {direction["group"] for direction in described["directions"]} == {"principal", "dimension"}
        (header, pixels), refused = asked(client, frame(1, 0, 1, latents(1).tobytes()), frame(2, 0, 1, bytes(4)))
        assert (header[1], len(pixels)) == (0, SIZE * SIZE * 3)
        assert "without a VAE" in refused[1].decode()
        content = io.BytesIO()
        Image.new("RGB", (16, 16)).save(content, "PNG")
        assert "no encoder" in client.post("/encode", content=content.getvalue()).json()["error"]

    @pytest.mark.parametrize(
        ("stage", "has_encoder", "prior", "told"),
        [("gan", False, "uniform", "uniform"), ("gan", False, "normal", "normal"), ("ae", True, "normal", None)],
    )
    def test_the_page_is_told_the_prior(
        self, tmp_path: Path, stage: str, has_encoder: bool, prior: str, told: str | None
    ) -> None:
        small_model(stage, 3, has_encoder=has_encoder, prior=prior).save_pretrained(tmp_path)
        described = Explorer(tmp_path).describe()
        assert (described["prior"], described["binarize"]) == (told, False)

    @pytest.mark.parametrize("stage", ["vae", "joint"])
    def test_a_vaes_page_is_given_its_mixture_beside_the_prior(self, tmp_path: Path, stage: str) -> None:
        model = small_model(stage, 3)
        for fitted, samplers in ((False, ["prior"]), (True, ["mixture", "prior"])):
            if fitted:
                model.networks.mixture = fit_mixture(torch.randn(60, LATENT) + 2)
            model.save_pretrained(tmp_path)
            described = Explorer(tmp_path).describe()
            assert (list(described["samplers"]), described["prior"]) == (samplers, "normal")
            assert (described["mixture"] is not None) is fitted

    def test_images_that_are_gone_leave_a_page_without_map(self, run: Path, tmp_path: Path) -> None:
        gone = Explorer(run, data=str(tmp_path / "gone"))
        gone.open_data()
        assert gone.describe()["data"]["state"] == "absent"
        assert "does not exist" in gone.describe()["data"]["why"]


class TestTsne:
    def test_is_made_when_asked_for_and_keeps_classes_together(self) -> None:
        pytest.importorskip("openTSNE")
        import time

        from vaegan.explorer.coordinates import TsneMap

        generator = np.random.default_rng(0)
        points = np.concatenate([generator.standard_normal((60, LATENT)) + 8 * (k == 1) for k in range(2)]).astype(np.float32)
        made = TsneMap()
        with pytest.raises(RequestError, match="not ready"):
            made.content()
        made.start(points)
        begun = time.monotonic()
        while made.describe()["state"] == "running" and time.monotonic() - begun < 120:
            time.sleep(0.05)
        assert made.describe()["state"] == "ready"
        content = made.content()
        indices, places = np.frombuffer(content[:480], "<u4"), np.frombuffer(content[480:], "<f4").reshape(120, 2)
        assert indices.tolist() == list(range(120))
        apart = np.linalg.norm(places[:60].mean(0) - places[60:].mean(0))
        assert apart > 2 * max(places[:60].std(), places[60:].std())

    def test_it_waits_for_all_images(self, client: TestClient, explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(explorer, "growing", True)
        assert "when all images are encoded" in client.post("/tsne").json()["error"]

    def test_its_absence_is_said(self, monkeypatch: pytest.MonkeyPatch, client: TestClient) -> None:
        monkeypatch.setattr(coordinates, "find_spec", lambda _: None)
        assert "vaegan[maps]" in client.post("/tsne").json()["error"]
        assert client.get("/model.json").json()["tsne"]["state"] == "missing"

    def test_mean_colours(self, client: TestClient, explorer: Explorer) -> None:
        assert explorer.dataset is not None
        found = np.frombuffer(client.get("/colours").content, np.uint8).reshape(SHOWN, 3)
        middle = np.asarray(explorer.dataset.images)[explorer.order, 2:14:2, 2:14:2].mean((1, 2))
        assert np.abs(found - middle).max() <= 1


class TestDirections:
    def test_a_unit_moves_its_own_reading_and_no_other(self, explorer: Explorer) -> None:
        encodings = explorer.encodings
        assert encodings is not None
        for found in (principal_directions(encodings.latents), raw_dimensions(explorer.model, encodings)):
            moves = np.stack([one.move for one in found]).astype(float)
            reads = np.stack([one.read for one in found if one.read is not None]).astype(float)
            assert np.allclose(moves @ reads.T, np.eye(LATENT), atol=1e-3)

    def test_principal_directions_are_scikit_learns(self) -> None:
        from sklearn.decomposition import PCA

        points = (np.random.default_rng(0).standard_normal((300, LATENT)) * np.arange(1, LATENT + 1) + 2).astype(np.float32)
        found = principal_directions(points)
        oracle = PCA().fit(points)
        for one, axis, variance in zip(found, oracle.components_, oracle.explained_variance_, strict=True):
            assert abs(one.move @ axis) == pytest.approx(variance**0.5, rel=1e-3)
        readings = np.stack([points @ one.read - one.zero for one in found if one.read is not None], 1)
        assert np.allclose(readings.mean(0), 0, atol=1e-3)
        assert np.allclose(np.cov(readings.T), np.eye(LATENT), atol=1e-3)

    def test_principal_directions_of_drawn_latents_change_the_picture_most(self) -> None:
        points = np.random.default_rng(0).standard_normal((500, LATENT)).astype(np.float32)
        gram = np.diag(np.array([1, 2, 9, 4, 5, 6], np.float32))
        found = principal_directions(points, gram)
        assert [int(np.abs(one.move).argmax()) for one in found] == [2, 5, 4, 3, 1, 0]

    def test_raw_dimensions_read_the_encoders_numbers(self, explorer: Explorer, run: Path) -> None:
        images = torch.rand(4, 3, SIZE, SIZE) * 2 - 1
        model = explorer.model
        own, outside = model.posterior(images).mean.numpy(), model.encode(images).numpy()
        for one in raw_dimensions(model, None):
            assert one.read is not None
            assert np.allclose(outside @ one.read - one.zero, own[:, int(one.name[1:])], atol=1e-3)

    def test_an_attribute_is_the_way_between_the_means(self) -> None:
        generator = np.random.default_rng(1)
        values = (np.arange(200) % 2).astype(np.float32)
        points = generator.standard_normal((200, LATENT)).astype(np.float32)
        points[:, 2] *= 5
        points[:, 0] += 3 * values
        (found,) = label_directions(
            Encodings(points, np.zeros(LATENT, np.float32)),
            {"side": values, "same": np.zeros(200, np.float32)},
            {"side": ("no", "yes"), "same": ("no", "yes")},
        )
        assert np.allclose(found.move, points[values == 1].mean(0) - points[values == 0].mean(0), atol=1e-5)
        assert found.residual is not None
        assert abs(found.residual @ found.move) < 1e-3 * np.linalg.norm(found.move) * np.linalg.norm(found.residual)
        assert abs(found.residual[2]) / np.linalg.norm(found.residual) > 0.95

    def test_a_category_gives_one_attribute_a_word_that_is_common_enough(self) -> None:
        points = np.random.default_rng(1).standard_normal((90, LATENT)).astype(np.float32)
        kinds = np.where(np.arange(90) < 3, 2, np.arange(90) % 2).astype(np.float32)
        found = label_directions(Encodings(points, np.zeros(LATENT, np.float32)), {"kind": kinds}, {"kind": ("a", "b", "c")})
        assert [one.name for one in found] == ["kind: a", "kind: b"]
        assert np.allclose(found[0].move, points[kinds == 0].mean(0) - points[kinds != 0].mean(0), atol=1e-5)

    def test_saved_directions_are_attributes(self, run: Path, explorer: Explorer) -> None:
        from vaegan.latent.stored import Direction, save_direction

        vector = torch.arange(LATENT, dtype=torch.float32)
        folder = explorer.model.folder
        assert folder is not None
        save_direction(folder, explorer.model, Direction("smiling", vector), Direction("sunny", 2 * vector))
        again = Explorer(run)
        again.open_data(required=True)
        attributes = [one for one in again.describe()["directions"] if one["group"] == "attribute"]
        assert [one["name"] for one in attributes[:2]] == ["smiling", "sunny"]
        assert [one["name"] for one in attributes].count("smiling") == 1
        (folder / "directions.safetensors").unlink()


class TestEncoding:
    def test_encodes_once_and_as_the_model_does(self, run: Path, tmp_path: Path) -> None:
        model = Model.from_pretrained(run / "gan" / "model")
        dataset = open_dataset("faces:70", DataConfig(size=SIZE, channels="3"), cache_dir=tmp_path)
        seen: list[int] = []
        first = encode_dataset(model, dataset, np.arange(70), cache_dir=tmp_path, progress=lambda _, done, __: seen.append(done))
        again = encode_dataset(
            model, dataset, np.arange(70), cache_dir=tmp_path, progress=lambda *_: pytest.fail("encoded again")
        )
        assert first is not None
        assert again is not None
        assert seen[-1] == 70
        assert np.allclose(first.latents, model.encode(dataset.load(range(70))).numpy(), atol=1e-5)
        assert np.array_equal(first.latents, again.latents)
        other = encode_dataset(small_model("gan", 9), dataset, np.arange(70), cache_dir=tmp_path)
        assert other is not None
        assert not np.allclose(other.latents, first.latents)

    def test_kl_is_torchs(self, run: Path, tmp_path: Path) -> None:
        model = Model.from_pretrained(run / "gan" / "model")
        dataset = open_dataset("faces:70", DataConfig(size=SIZE, channels="3"), cache_dir=tmp_path)
        found = encode_dataset(model, dataset, np.arange(70), cache_dir=tmp_path)
        assert found is not None
        posterior = model.posterior(dataset.load(range(70)))
        normal = torch.distributions.Normal(posterior.mean, (posterior.log_var / 2).exp())
        oracle = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0, 1)).mean(0)
        assert np.allclose(found.kl, oracle.numpy(), atol=1e-4)


class TestPort:
    def test_a_port_in_use_gives_way_to_the_next(self) -> None:
        with server.open_port(18_484) as first, server.open_port(18_484) as second:
            assert first.getsockname()[0] == "127.0.0.1"
            assert second.getsockname()[1] > first.getsockname()[1]

    def test_no_free_port_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "MOST_PORTS", 1)
        with server.open_port(18_600) as taken, pytest.raises(RequestError, match="give another --port"):
            server.open_port(taken.getsockname()[1])


def test_the_command_says_where_the_page_is(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import webbrowser

    from vaegan.cli import main

    def served(_: Any, listening: socket.socket, ready: Any) -> None:
        listening.close()
        ready()
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "serve", served)
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    with server.open_port(18_700) as taken:
        port = taken.getsockname()[1]
        main(["explore", str(run), "--port", str(port)])
    printed = capsys.readouterr().out
    assert "http://127.0.0.1:187" in printed
    assert f"port {port} is taken" in printed
    assert "No browser could be opened" in printed
    with pytest.raises(SystemExit) as exit:
        main(["explore", str(run), "--port", "0"])
    assert exit.value.code == 2


def test_the_protocol_answers_what_was_asked() -> None:
    request = protocol.parse(frame(1, 0, 2, latents(2).tobytes(), number=4_000_000_000))
    assert request.number == 4_000_000_000
    assert HEADER.unpack_from(protocol.answer(request, b"xyz")) == (4_000_000_000, 0, 1, 2)
    assert state.MAX_UPLOAD_BYTES <= 64 * 2**20
