"""Weights come from the model hub: here a small server of our own that speaks the hub's protocol."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"

LOAD = """
import json, sys
from napari_semigda.errors import Cancelled, SemiGDAError
from napari_semigda.model.loading import load_autoencoder

seen = []
cancel = sys.argv[1] == "cancel"
try:
    autoencoder = load_autoencoder(
        "taesd",
        progress=lambda done, total: seen.append((done, total)),
        cancelled=lambda: cancel and max((total for _, total in seen), default=0) >= 1 << 20,
    )
    print(json.dumps({"signature": autoencoder.signature(), "source": autoencoder.source, "seen": seen}))
except Cancelled:
    print(json.dumps({"cancelled": True, "seen": seen}))
except SemiGDAError as error:
    print(json.dumps({"error": str(error)}))
"""


class Hub:
    """A server with one repository of files; its last piece of a large file waits until it is released."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.requests: list[str] = []
        self.release = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def do_GET(self) -> None:
                self._answer(with_body=True)

            def _answer(self, with_body: bool) -> None:
                hub.requests.append(f"{self.command} {self.path}")
                content = hub.files.get(self.path.rpartition("/resolve/main/")[2])
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", f'"{len(content):040x}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.end_headers()
                if with_body:
                    self._send(content)

            def _send(self, content: bytes) -> None:
                half = len(content) // 2
                self.wfile.write(content[:half])
                self.wfile.flush()
                if len(content) > 1 << 20:
                    hub.release.wait(30)
                with suppress(OSError):  # a client that cancelled has gone
                    self.wfile.write(content[half:])

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def network() -> AutoencoderTiny:
    torch.manual_seed(2)
    return AutoencoderTiny()


@pytest.fixture
def hub(tmp_path: Path, network: AutoencoderTiny) -> Iterator[Hub]:
    network.save_pretrained(tmp_path / "source")
    hub = Hub({path.name: path.read_bytes() for path in (tmp_path / "source").iterdir()})
    yield hub
    hub.release.set()
    hub.server.shutdown()
    hub.server.server_close()


def load(tmp_path: Path, address: str, then: str = "finish", program: str = LOAD, **environment: str) -> dict:
    """Load weights in a process of its own: the hub's library reads its settings once, on import."""
    settings = {
        "HF_ENDPOINT": address,
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-c", program, then],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_weights_are_downloaded_once_with_progress(
    tmp_path: Path, hub: Hub, network: AutoencoderTiny
) -> None:
    hub.release.set()
    size = len(hub.files["diffusion_pytorch_model.safetensors"])
    first = load(tmp_path, hub.address)
    assert first["source"] == "hub"
    assert first["seen"] == sorted(first["seen"])
    assert first["seen"][-1] == [size, size]

    asked = len(hub.requests)
    offline = load(tmp_path, hub.address, HF_HUB_OFFLINE="1")
    assert len(hub.requests) == asked
    assert offline["signature"] == first["signature"]


@pytest.mark.slow
def test_weights_are_kept_in_the_folder_that_was_chosen(tmp_path: Path, hub: Hub) -> None:
    hub.release.set()
    chosen = {"SEMIGDA_CACHE": str(tmp_path / "chosen")}
    first = load(tmp_path, hub.address, **chosen)
    assert [path.name for path in (tmp_path / "chosen" / "hub").glob("models--*")] == [
        "models--madebyollin--taesd"
    ]
    assert not list((tmp_path / "cache").rglob("models--*"))
    assert load(tmp_path, hub.address, HF_HUB_OFFLINE="1", **chosen)["signature"] == first["signature"]
    assert "error" in load(tmp_path, hub.address, HF_HUB_OFFLINE="1")


@pytest.mark.slow
def test_a_download_is_cancelled_while_the_network_hangs(tmp_path: Path, hub: Hub) -> None:
    result = load(tmp_path, hub.address, then="cancel")
    assert result["cancelled"]
    done, total = result["seen"][-1]
    assert done < total
    assert not hub.release.is_set()


@pytest.mark.slow
def test_without_the_hub_the_words_say_what_to_put_where(tmp_path: Path, hub: Hub) -> None:
    offline = load(tmp_path, hub.address, HF_HUB_OFFLINE="1")["error"]
    hub.files.clear()
    for error in (offline, load(tmp_path, hub.address)["error"]):
        assert "madebyollin/taesd" in error
        assert "config.json and diffusion_pytorch_model.safetensors" in error
        assert "in one folder" in error
