"""A small archive of nuclei, laid out as the real one, and a server on this machine that gives it away."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from napari_semigda.samples.nuclei import Archive

NAME = "stage1_train.zip"


def nuclei_archive(images: Mapping[str, tuple[NDArray, list[NDArray]]]) -> bytes:
    """A zip file with each image (H, W, 4) and its nuclei (H, W), as the Broad Institute has it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("notes.txt", bytes(2**19))  # for a download of several pieces
        for identity, (image, nuclei) in images.items():
            archive.writestr(
                f"{identity}/images/{identity}.png", iio.imwrite("<bytes>", image, extension=".png")
            )
            for number, nucleus in enumerate(nuclei):
                mask = iio.imwrite("<bytes>", nucleus, extension=".png")
                archive.writestr(f"{identity}/masks/{number}.png", mask)
    return content.getvalue()


def some_nuclei() -> dict[str, tuple[NDArray, list[NDArray]]]:
    """Two gray images of one size, and one in colors of another; each with two nuclei."""
    random = np.random.default_rng(0)

    def image(height: int, width: int, *, gray: bool) -> NDArray:
        pixels = np.full((height, width, 4), 255, np.uint8)
        pixels[..., :3] = random.integers(0, 256, (height, width, 1 if gray else 3), np.uint8)
        return pixels

    def nuclei(height: int, width: int) -> list[NDArray]:
        masks = np.zeros((2, height, width), np.uint8)
        masks[0, 2:8, 3:9], masks[1, 10:14, 12:20] = 255, 255
        return list(masks)

    sizes = {"aa": (24, 32, True), "bb": (24, 32, True), "cc": (20, 40, False)}
    return {name: (image(h, w, gray=gray), nuclei(h, w)) for name, (h, w, gray) in sizes.items()}


class Server:
    """Gives away one file; the second half of it only when it is released."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.requests = 0
        self.release = threading.Event()
        self.release.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def archive(self) -> Archive:
        """The file's address and checksum."""
        url = f"http://127.0.0.1:{self._server.server_port}/{NAME}"
        return Archive(url, hashlib.sha256(self.content).hexdigest())

    def close(self) -> None:
        """Answer no longer."""
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(server.content)))
                self.end_headers()
                half = len(server.content) // 2
                self.wfile.write(server.content[:half])
                self.wfile.flush()
                server.release.wait(30)
                with suppress(OSError):  # somebody who cancelled has gone
                    self.wfile.write(server.content[half:])

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@contextmanager
def serving(content: bytes) -> Iterator[Server]:
    """Give a file away as long as the block lasts."""
    server = Server(content)
    try:
        yield server
    finally:
        server.close()
