"""Fetching of weights: the file on this machine that an address means; failures take seconds."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch

from genlab import recipes, runs
from genlab.checkpoints.foreign.download import download, is_page, locked, request
from genlab.checkpoints.identity import chosen
from genlab.errors import CheckpointError, RunError, fault_of, first_line
from genlab.files import replacing

WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl")
_USUAL = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth", "model.ckpt")
_PUBLISHERS = (  # of torch's and timm's weights, whose names are one another's in torch's cache
    "https://download.pytorch.org/",
    "https://github.com/huggingface/pytorch-image-models/",
    "https://github.com/rwightman/",
    "https://dl.fbaipublicfiles.com/",
)
_SECONDS = 8  # to find out that there is no network
_OFFLINE = "a local file or folder works too: pretrained=PATH"


@dataclass
class Fetched:
    """A weights file on this machine, the configuration next to it, and its commit on the hub."""

    file: Path
    config: dict[str, Any]
    revision: str = ""


def fetch(source: str | Path) -> Fetched:
    """The file that an address means, downloaded once if it lies elsewhere.

    Args:
        source: a file; a folder (a genlab run, timm's export, or one with a single weights file);
            ``hf-hub:ID[@REVISION]``; an http(s) or fsspec address;
            ``wandb:ENTITY/PROJECT/NAME:ALIAS``; the name of a genlab run or recipe.

    Raises:
        CheckpointError: nothing there, or no way to it.
    """
    text = str(source)
    path = Path(text).expanduser()
    if os.path.isdir(path) and not runs.is_run(path):
        return _in_folder(path)
    if os.path.isfile(path):
        return Fetched(path, _config_beside(path))
    kind, _, rest = text.partition(":")
    if kind == "hf-hub":
        return _from_hub(rest)
    if kind == "wandb":
        return _in_folder(_from_wandb(rest))
    if kind in ("http", "https"):
        return Fetched(_from_web(text), {})
    if rest.startswith("//"):
        return Fetched(_from_fsspec(text), {})
    try:
        return Fetched(chosen(path), {})
    except RunError as error:
        raise CheckpointError(f"no weights at {source}: {error}") from None


def fetch_timm(cfg: dict[str, Any]) -> Fetched:
    """The weights that timm's registry names for a model.

    Args:
        cfg: the model's ``pretrained_cfg``.

    Raises:
        CheckpointError: timm has none for it, or they cannot be reached.
    """
    name = cfg.get("architecture") or "this network"
    if cfg.get("file"):
        return fetch(cfg["file"])
    if cfg.get("hf_hub_id"):
        return _from_hub(cfg["hf_hub_id"], cfg.get("hf_hub_filename"))
    if str(cfg.get("url") or "").endswith((".pth", ".pt", ".bin", ".safetensors")):
        return Fetched(_from_web(cfg["url"]), {})
    raise CheckpointError(f"timm has no pretrained weights for {name}; {_OFFLINE}")


def _in_folder(folder: Path) -> Fetched:
    files = sorted(f for f in folder.iterdir() if f.suffix in WEIGHTS)
    usual = [folder / name for name in _USUAL if folder / name in files]
    if not usual and len(files) != 1:
        found = f"several ({', '.join(f.name for f in files[:4])}): name one" if files else "none"
        raise CheckpointError(f"{folder} must contain one weights file, it contains {found}")
    file = (usual or files)[0]
    return Fetched(file, runs.read_json(folder / "config.json"))


def _config_beside(file: Path) -> dict[str, Any]:
    """The ``config.json`` of a timm or genlab export, if its folder's address means this file."""
    config = runs.read_json(file.parent / "config.json")
    if not config.keys() & {"genlab", "pretrained_cfg", "architecture"}:
        return {}
    alone = [f for f in file.parent.iterdir() if f.suffix in WEIGHTS] == [file]
    return config if alone or file.name in _USUAL else {}


def _from_hub(name: str, filename: str | None = None) -> Fetched:
    """The hub's present state where it answers, else what was downloaded before."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    repository, _, revision = name.partition("@")
    repository = repository if "/" in repository else f"timm/{repository}"

    def get(*files: str) -> Path | None:
        for file in files:
            try:
                return Path(
                    hf_hub_download(
                        repository, file, revision=revision or None, local_files_only=not online
                    )
                )
            except EntryNotFoundError:  # on the hub, or in the cache
                continue
        return None

    online = not constants.HF_HUB_OFFLINE and _reach(constants.ENDPOINT)
    try:
        file, config = get(*((filename,) if filename else _USUAL)), get("config.json")
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise CheckpointError(f"hf-hub:{repository}: {first_line(error)}; {_OFFLINE}") from None
    if file is None:
        why = "it has no weights file" if online else f"{constants.ENDPOINT} cannot be reached"
        raise CheckpointError(f"hf-hub:{repository} is not available: {why}; {_OFFLINE}")
    return Fetched(file, runs.read_json(config) if config else {}, _commit(file, online))


def _commit(file: Path, online: bool) -> str:
    """The revision that a file of the hub's cache belongs to, ``snapshots/COMMIT/...``."""
    _, _, inside = str(file).rpartition("/snapshots/")
    return inside.partition("/")[0][:7] + " (from the cache)" * (not online)


def _from_web(url: str) -> Path:
    name = Path(re.split("[?#]", url)[0]).name or "weights"
    usual = url.startswith(_PUBLISHERS)
    digest = re.search(r"-([0-9a-f]{8,64})\.", name)  # torch's and timm's convention
    if digest and not usual and re.fullmatch(r"\d{8}", digest[1]):
        digest = None  # a date
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    shown = recipes.without_credentials(url)  # also of the file: a new token fetches no other
    target = folder / (name if digest and usual else f"{_hash(shown)}-{name}")
    with locked(target):
        if not target.exists() or is_page(target):
            if not _reach(url):
                raise CheckpointError(f"{shown} cannot be reached; {_OFFLINE}")
            try:
                download(url, target, digest[1] if digest else "")
            except (OSError, HTTPException, ValueError) as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                if fault_of(error) is not None:
                    raise
                raise CheckpointError(f"{shown}: {first_line(error)}; {_OFFLINE}") from None
    return target


def _from_fsspec(url: str) -> Path:
    import fsspec  # type: ignore[import-untyped]

    try:
        files, path = fsspec.core.url_to_fs(url)
        target = _cache() / f"{_hash(url, files.ukey(path))}-{Path(path).name}"
        with locked(target):
            if not target.exists():
                with replacing(target) as partial:
                    files.get_file(path, str(partial))
    except Exception as error:  # every driver has its own
        shown, why = map(recipes.without_credentials, (url, first_line(error)))
        raise CheckpointError(f"{shown}: {why}; {_OFFLINE}") from None
    return target


def _from_wandb(reference: str) -> Path:
    from lightning.pytorch.loggers import WandbLogger

    folder = _cache() / "wandb" / _hash(reference)
    offline = os.environ.get("WANDB_MODE", "online") in ("offline", "disabled")
    try:
        if offline:
            raise OSError(f"WANDB_MODE is {os.environ['WANDB_MODE']}")
        with locked(folder), _beside(folder) as fresh:
            WandbLogger.download_artifact(
                reference, str(fresh), artifact_type="model", use_artifact=False
            )
            _replace(folder, fresh)
    except Exception as error:  # wandb's own kinds, without a common parent
        raise CheckpointError(f"wandb:{reference}: {first_line(error)}; {_OFFLINE}") from None
    return folder


def _replace(folder: Path, fresh: Path) -> None:
    """Another version's files for those of a folder, of which other processes may be reading."""
    files = [file for file in fresh.iterdir() if file.is_file()]
    for file in files:
        if not file.resolve().is_relative_to(fresh.resolve()):
            raise OSError(f"{file.name} leads out of the artifact")
    folder.mkdir(exist_ok=True)
    for file in files:
        file.replace(folder / file.name)
    for old in folder.iterdir():
        if old.name not in {file.name for file in files}:
            old.unlink()


def _reach(url: str) -> bool:
    """True if a server answers, decided in seconds."""
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(request(url, "HEAD"), timeout=_SECONDS - 3).close()
        except urllib.error.HTTPError as refusal:
            refusal.close()  # it answered
        except Exception:
            return
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)  # a name server can take longer than asked
    thread.start()
    thread.join(_SECONDS)
    return answered.is_set()


def _cache() -> Path:
    return Path(torch.hub.get_dir()) / "genlab"


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A temporary empty folder."""
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        fresh.mkdir()
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _hash(*words: str) -> str:
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:12]
