"""The explorer's server: the page's files, a few questions by HTTP, and one socket; for this machine only."""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from vaegan.errors import RequestError, VaeganError
from vaegan.explorer.protocol import answer, parse, refusal
from vaegan.explorer.state import MAX_UPLOAD_BYTES, Explorer

ADDRESS = "127.0.0.1"
MOST_PORTS = 50  # tried one after the other
MAX_FRAME_BYTES = 2**20
UPLOADS = 4  # received at once; others wait, so that many slow ones take no more memory
UPLOAD_SECONDS = 60
SILENCE_SECONDS = 5  # without a byte of an upload, after which it is given up
RESTORE_SECONDS = 60

PAGE = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def _is_local(scope: Scope) -> bool:
    """Whether no other site's page made a request, by the Host it came to and the Origin it came from.

    Listening on 127.0.0.1 alone does not keep them out: a page from anywhere can send requests to it, and by changing what its
    own name resolves to (DNS rebinding) even read the answers.
    """
    headers: dict[bytes, bytes] = dict(scope["headers"])
    if any(sum(name == known for known, _ in scope["headers"]) > 1 for name in (b"host", b"origin")):
        return False  # no browser sends two, and only one of them would be looked at
    host = headers.get(b"host", b"").decode("latin-1").lower()
    name, _, port = host.partition(":")
    # Of the port nothing is asked: browsers leave 80 out, and behind `ssh -L` it is another one.
    if name not in (ADDRESS, "localhost") or not (port.isdecimal() or host == name):
        return False
    origin = headers.get(b"origin")
    if origin is None:  # browsers leave it out where a page is only being read, never for a socket
        return scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
    return origin.decode("latin-1").lower() == f"http://{host}"


class Handlers:
    """What is done with each request. Whatever touches the model happens on one thread, one after the other.

    What takes seconds has a thread of its own.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        # More threads than one only get in each other's way on images this small: 7 ms became 150 beside another busy program.
        self._uploads = asyncio.Semaphore(UPLOADS)
        self._model_thread, self._restore_thread = (
            ThreadPoolExecutor(1, name, initializer=torch.set_num_threads, initargs=(1,)) for name in ("model", "restore")
        )
        self._restores = 0

    async def page(self, request: Request) -> Response:
        """A file of the page; nothing but what lies in its folder has a name here."""
        name = request.path_params.get("name") or "index.html"
        if name not in {path.name for path in PAGE.iterdir() if path.suffix in TYPES}:
            return _refused("There is no such page.", 404)
        return FileResponse(PAGE / name, media_type=TYPES[Path(name).suffix], headers=HEADERS)

    async def model(self, _: Request) -> Response:
        """What is being explored."""
        return JSONResponse(self.explorer.describe(), headers=HEADERS)

    async def labels(self, request: Request) -> Response:
        """A label of every image."""
        return _bytes(self.explorer.labels(request.path_params["name"]))

    async def colours(self, _: Request) -> Response:
        """The mean colour of every image."""
        return _bytes(await asyncio.to_thread(self.explorer.mean_colours))

    async def tsne(self, request: Request) -> Response:
        """POST begins a map by t-SNE; GET fetches it."""
        if request.method == "POST":
            if self.explorer.encodings is None:
                raise RequestError("There are no encoded images to make a map of.")
            if self.explorer.growing:
                raise RequestError("t-SNE begins when all images are encoded.")
            self.explorer.tsne.start(self.explorer.encodings.latents)
            return JSONResponse(self.explorer.tsne.describe(), headers=HEADERS)
        return _bytes(self.explorer.tsne.content())

    async def encode(self, request: Request) -> Response:
        """An image file or a sample's address in, its latent and its pixels out."""
        data = await self._uploaded(request)
        if isinstance(data, Response):
            return data
        encode = self.explorer.encode_upload
        return _bytes(b"".join(await asyncio.get_running_loop().run_in_executor(self._model_thread, encode, data)))

    async def restore(self, request: Request) -> Response:
        """A picture and its part to be made anew in, answers out; the newest request ends an older one's search."""
        data = await self._uploaded(request)
        if isinstance(data, Response):
            return data
        self._restores += 1
        number, end = self._restores, time.monotonic() + RESTORE_SECONDS

        def go_on(*_: object) -> None:
            if number != self._restores:
                raise RequestError("A newer request is being answered.")
            if time.monotonic() > end:
                raise RequestError(f"This model took over {RESTORE_SECONDS} seconds; use the command: vaegan restore RUN IMAGE")

        def work() -> bytes:
            go_on()  # it may have waited for an older one to end
            return self.explorer.restore(data, go_on)

        return _bytes(await asyncio.get_running_loop().run_in_executor(self._restore_thread, work))

    async def _uploaded(self, request: Request) -> bytes | Response:
        """What was sent, or why it is not read."""
        try:
            async with asyncio.timeout(UPLOAD_SECONDS):
                data = await _bounded_body(request, self._uploads)
        except TimeoutError:
            return _refused("The image did not come in time.", 408)
        if data is None:
            return _refused(f"The image is too large: over {MAX_UPLOAD_BYTES // 2**20} MB are not read.", 413)
        return data

    async def socket(self, socket: WebSocket) -> None:
        """Answers frames one after the other."""
        await socket.accept()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                received = await socket.receive()
                if received["type"] == "websocket.disconnect":
                    return
                frame: bytes = received.get("bytes") or b""
                await socket.send_bytes(await loop.run_in_executor(self._model_thread, self._answer, frame))

    def _answer(self, frame: bytes) -> bytes:
        try:
            message = parse(frame)
            return answer(message, self.explorer.answer(message))
        except VaeganError as error:
            return refusal(frame, str(error))

    def close(self) -> None:
        """Ends the threads."""
        self.explorer.close()
        self._restores += 1
        for thread in (self._model_thread, self._restore_thread):
            thread.shutdown(wait=False, cancel_futures=True)


def build_app(explorer: Explorer) -> ASGIApp:
    """The guarded application."""
    handlers = Handlers(explorer)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        handlers.close()

    async def refuse(_: Request, error: Exception) -> Response:
        return _refused(str(error), 400)

    async def nobody_there(_: Request, error: Exception) -> Response:
        return _refused("The upload was broken off.", 400)

    app = Starlette(
        routes=[
            Route("/", handlers.page),
            Route("/model.json", handlers.model),
            Route("/labels/{name:path}", handlers.labels),
            Route("/colours", handlers.colours),
            Route("/tsne", handlers.tsne, methods=["GET", "POST"]),
            Route("/encode", handlers.encode, methods=["POST"]),
            Route("/restore", handlers.restore, methods=["POST"]),
            WebSocketRoute("/socket", handlers.socket),
            Route("/{name}", handlers.page),
        ],
        exception_handlers={VaeganError: refuse, ClientDisconnect: nobody_there},
        lifespan=lifespan,
    )

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or _is_local(scope):
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).close(1008)
        else:
            await PlainTextResponse("Only pages of this machine are served.", 403, HEADERS)(scope, receive, send)

    return guarded


def open_port(port: int) -> socket.socket:
    """A listening socket on `port`, or on the next one that is free; RequestError if none of the next fifty is."""
    for candidate in range(port, min(port + MOST_PORTS, 65536)):
        # It knows that SO_REUSEADDR, wanted elsewhere, would share a port in use on Windows.
        with contextlib.suppress(OSError):
            return socket.create_server((ADDRESS, candidate), backlog=128)
    raise RequestError(f"No port from {port} to {min(port + MOST_PORTS, 65536) - 1} is free; give another --port.")


def configuration(app: ASGIApp) -> uvicorn.Config:
    """How the application is served."""
    logging.getLogger("uvicorn.error").addFilter(_is_worth_a_line)
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )


def serve(explorer: Explorer, listening: socket.socket, ready: Callable[[], None] | None = None) -> None:
    """Serves until interrupted; `ready` is called on a thread of its own once the page can be opened."""
    server = uvicorn.Server(configuration(build_app(explorer)))

    def call_when_started(ready: Callable[[], None]) -> None:
        while not server.started:
            time.sleep(0.01)
        ready()

    if ready is not None:
        threading.Thread(target=call_when_started, args=(ready,), daemon=True).start()
    threading.Thread(target=explorer.open_data, daemon=True).start()
    server.run(sockets=[listening])


async def _bounded_body(request: Request, turns: asyncio.Semaphore) -> bytes | None:
    """The body, or None as soon as it is longer than an upload may be; TimeoutError after a silence.

    Only an upload that has begun takes a turn: those that never begin keep nobody waiting.
    """
    parts = request.stream()
    body = bytearray(await _next_part(parts))
    async with turns:
        while len(body) <= MAX_UPLOAD_BYTES and (part := await _next_part(parts)):
            body += part
    return bytes(body) if len(body) <= MAX_UPLOAD_BYTES else None


async def _next_part(parts: AsyncGenerator[bytes]) -> bytes:
    async with asyncio.timeout(SILENCE_SECONDS):
        return await anext(parts, b"")


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Whether the terminal of the explorer's owner is told; what a broken client sends is no concern of theirs."""
    return record.exc_info is None or not isinstance(record.exc_info[1], UnicodeDecodeError)


def _bytes(content: bytes) -> Response:
    return Response(content, media_type="application/octet-stream", headers=HEADERS)


def _refused(reason: str, status: int) -> Response:
    return JSONResponse({"error": reason}, status, HEADERS)
