"""Every address of weights leads to the same file, once; what is not there is said in seconds."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch

from genlab.checkpoints import backbone_of, load_backbone
from genlab.checkpoints.foreign import fetching
from genlab.errors import CheckpointError

VIT: dict[str, Any] = {"img_size": 16, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2}
NAME = "vit_tiny_patch16_224"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def source() -> Any:
    return timm.create_model(NAME, **VIT)


@pytest.fixture
def file(source: Any, tmp_path: Path) -> Path:
    path = tmp_path / "weights.pth"
    torch.save(source.state_dict(), path)
    return path


def loads(address: Any, source: Any) -> Any:
    """The report of an address that must lead to the source's weights."""
    model: Any = timm.create_model(NAME, num_classes=0, **VIT)
    report = load_backbone(model, address)
    assert torch.equal(model.pos_embed, source.pos_embed)
    return report


def refused(address: Any) -> str:
    """What is said of an address, within seconds."""
    started = time.monotonic()
    with pytest.raises(CheckpointError) as error:
        load_backbone(timm.create_model(NAME, num_classes=0, **VIT), address)
    assert time.monotonic() - started < 15
    assert "\n" not in str(error.value)
    return str(error.value)


def test_file_and_folder(file: Path, source: Any, tmp_path: Path) -> None:
    loads(file, source)
    loads(str(file), source)
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "it contains none" in refused(str(folder))
    shutil.copy(file, folder / "a.pth")
    loads(str(folder), source)
    shutil.copy(file, folder / "b.pth")
    assert "it contains several (a.pth, b.pth): name one" in refused(str(folder))
    shutil.copy(file, folder / "pytorch_model.bin")
    loads(str(folder), source)


@pytest.mark.parametrize("address", ["nowhere.pth", "/nowhere/x", "no_run"])
def test_nothing_there(address: str) -> None:
    assert refused(address).startswith(f"no weights at {address}")


def timm_folder(source: Any, folder: Path) -> Path:
    folder.mkdir(parents=True)
    safetensors.torch.save_file(source.state_dict(), folder / "model.safetensors")
    config = {
        "architecture": NAME,
        "num_classes": 1000,
        "model_args": VIT | {"num_classes": 1000},
        "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_export_of_timm(source: Any, tmp_path: Path) -> None:
    folder = timm_folder(source, tmp_path / "export")
    report = loads(str(folder), source)
    assert (report.mean, report.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    given = {k: v for k, v in VIT.items() if k != "img_size"}
    assert backbone_of(folder) == {"encoder": NAME, "encoder_kwargs": given}


def test_hub_from_its_cache(source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_reach", lambda url: False)
    repository = tmp_path / "hub" / "models--me--net"
    timm_folder(source, repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    report = loads("hf-hub:me/net", source)
    assert report.mean == (0.1, 0.2, 0.3)
    assert "from hf-hub:me/net at abc (from the cache): 100 %" in str(report)
    found = backbone_of("hf-hub:me/net")
    assert found is not None
    assert found["encoder"] == NAME


@pytest.mark.parametrize("address", [True, "timm", "hf-hub:timm/resnet18.a1_in1k", "hf-hub:resnet"])
def test_hub_without_network(address: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_reach", lambda url: False)
    message = refused(address)
    assert "cannot be reached" in message
    assert "a local file or folder works too" in message


def test_a_silent_network_is_given_up_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_SECONDS", 1)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: time.sleep(30))
    started = time.monotonic()
    assert "cannot be reached" in refused("https://silent.invalid/weights.pth")
    assert time.monotonic() - started < 5


def test_network_that_timm_lacks() -> None:
    with pytest.raises(CheckpointError, match="timm has no pretrained weights for this network"):
        load_backbone(torch.nn.Linear(2, 2), True)


class Server(http.server.SimpleHTTPRequestHandler):
    gets: list[str] = []  # noqa: RUF012
    cut = False

    def do_GET(self) -> None:
        type(self).gets.append(self.path)
        if self.path == "/closed.pth":
            return self._closed()
        if self.path == "/open.pth" and self.headers["Authorization"]:
            return self.send_error(400)
        if not self.cut:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"PK only the beginning")

    def _closed(self) -> None:
        """Send who knows the password to another address."""
        code = base64.b64encode(b"me@home:pa:ss").decode()
        if self.headers["Authorization"] != f"Basic {code}":
            return self.send_error(401)
        self.send_response(302)
        self.send_header("Location", "/open.pth")
        self.end_headers()

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def server(file: Path) -> Iterator[str]:
    """Serves the test's folder; one address for it."""
    Server.gets, Server.cut = [], False
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    httpd.server_close()


def test_web_once_for_all_processes(server: str, source: Any) -> None:
    """The lock is the file's, so threads stand for the processes of a node."""
    with ThreadPoolExecutor(4) as pool:
        files = set(pool.map(lambda _: fetching.fetch(f"{server}/weights.pth").file, range(4)))
    assert len(files) == 1
    assert Server.gets == ["/weights.pth"]
    loads(f"{server}/weights.pth", source)
    assert len(Server.gets) == 1


def test_a_token_is_neither_part_of_the_file_nor_of_a_message(server: str, source: Any) -> None:
    first = fetching.fetch(f"{server}/weights.pth?token=one").file
    assert fetching.fetch(f"{server}/weights.pth?token=two").file == first
    assert fetching.fetch(f"{server}/weights.pth#access_token=two").file == first
    assert Server.gets == ["/weights.pth?token=one"]
    assert "three" not in refused(f"{server}/none.pth?token=three")


def test_a_password_is_sent_to_its_own_server_alone(server: str, file: Path, source: Any) -> None:
    shutil.copy(file, file.with_name("open.pth"))
    address = f"http://me%40home:pa%3Ass@{server.removeprefix('http://')}/closed.pth"
    assert "401" in refused(f"{server}/closed.pth")
    assert "401" in refused(address.replace("ss@", "SECRET@"))
    assert "SECRET" not in refused(address.replace("ss@", "SECRET@"))
    loads(address, source)
    assert Server.gets[-2:] == ["/closed.pth", "/open.pth"]


def test_web_hash_in_the_name(server: str, file: Path, source: Any) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    shutil.copy(file, file.with_name(f"good-{digest}.pth"))
    shutil.copy(file, file.with_name("bad-deadbeef.pth"))
    loads(f"{server}/good-{digest}.pth", source)
    assert "not deadbeef" in refused(f"{server}/bad-deadbeef.pth")
    assert "not deadbeef" in refused(f"{server}/bad-deadbeef.pth")  # it left nothing behind


def test_web_a_date_in_the_name_is_no_checksum(server: str, file: Path, source: Any) -> None:
    shutil.copy(file, file.with_name("net-20240101.pth"))
    loads(f"{server}/net-20240101.pth", source)


def test_web_a_checksum_in_the_name_is_of_one_address(server: str, file: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    name = f"net-{digest}.pth"
    for folder in ("one", "two"):
        (file.parent / folder).mkdir()
        shutil.copy(file, file.parent / folder / name)
    found = {fetching.fetch(f"{server}/{folder}/{name}").file for folder in ("one", "two")}
    assert len(found) == 2
    assert len(Server.gets) == 2


def test_weights_of_torch_are_taken_from_its_own_cache(tmp_path: Path) -> None:
    cached = tmp_path / "cache" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"PK")
    address = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    assert fetching.fetch(address).file == cached


def test_web_missing_and_broken_off(server: str) -> None:
    assert "404" in refused(f"{server}/nothing.pth")
    Server.cut = True
    assert "the connection broke after 21 of 1000000 bytes" in refused(f"{server}/weights.pth")
    Server.cut = False
    load_backbone(timm.create_model(NAME, num_classes=0, **VIT), f"{server}/weights.pth")


def test_fsspec(file: Path, source: Any) -> None:
    import fsspec  # type: ignore[import-untyped]

    with fsspec.open("memory://store/weights.pth", "wb") as store:
        store.write(file.read_bytes())
    loads("memory://store/weights.pth", source)
    assert "memory://store/none.pth" in refused("memory://store/none.pth")
    assert "nosuch" in refused("nosuch://store/weights.pth")


def test_wandb_artifact(file: Path, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning.pytorch.loggers import WandbLogger

    asked = []

    def download(artifact: str, save_dir: str, **options: Any) -> str:
        asked.append(artifact)
        Path(save_dir).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, Path(save_dir) / "model.ckpt")
        return save_dir

    monkeypatch.setattr(WandbLogger, "download_artifact", staticmethod(download))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for _ in range(2):
        loads("wandb:me/project/model-1:best", source)
    assert asked == ["me/project/model-1:best"] * 2
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert "a local file or folder works too" in refused("wandb:me/project/model-1:best")
