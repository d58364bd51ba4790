"""Where a run's figures go: metrics.csv always, Weights & Biases beside it."""

from __future__ import annotations

import json
import netrc
import os
import shlex
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genlab import runs
from genlab.callbacks.checkpoints import Checkpoints
from genlab.callbacks.csv_log import CSVLog


class WandbRun(WandbLogger):
    """Lightning's W&B logger with one identity for a run's whole life and our checkpoint upload.

    Args:
        upload: ``off``, ``best`` (once, at the end) or ``all`` (each file as it is written).
        kwargs: Lightning's and ``wandb.init``'s arguments.
    """

    def __init__(self, upload: str = "off", **kwargs: Any) -> None:
        super().__init__(log_model=False, **kwargs)
        self._wandb_init.pop("anonymous", None)  # wandb warns of it whatever it is
        self.upload = upload
        self._checkpoints: Checkpoints | None = None

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the resolved recipe is the configuration (see `configure`)."""

    @rank_zero_only
    def configure(self, config: dict[str, Any]) -> None:
        """Put a plain nested dictionary into the run's configuration."""
        self.experiment.config.update(
            json.loads(json.dumps(config, default=str)), allow_val_change=True
        )

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Upload the file just written, if all are wanted."""
        self._checkpoints = checkpoint_callback
        if self.upload == "all" and checkpoint_callback.newest:
            self._upload(checkpoint_callback.newest)

    @rank_zero_only
    def close(self) -> None:
        """Upload the selected checkpoint if wanted, and end the W&B run with everything written."""
        import wandb

        best = self._checkpoints and self._checkpoints.best_path
        if self.upload == "best" and best:
            self._upload(best)
        self.experiment.finish()
        wandb.teardown()

    def _upload(self, file: Path) -> None:
        import wandb

        artifact = wandb.Artifact(f"model-{self.experiment.id}", type="model")
        artifact.add_file(str(file), name="model.ckpt")
        self.experiment.log_artifact(artifact, aliases=["latest", file.stem])


@dataclass
class Tracking:
    """Where runs are kept and how they are tracked: the ``track:`` group of a recipe.

    Args:
        runs: folder of all run directories.
        wandb: ``auto`` (online with a key and a network, else offline), ``online``, ``offline``
            or ``off``.
        project: W&B project.
        entity: W&B team or user; null is the account's default.
        group: W&B group; null is the recipe's name.
        tags: W&B tags beside method and data.
        upload_checkpoints: ``off``, ``best`` or ``all``, as W&B artifacts.
        test_after_fit: evaluate the selected checkpoint on the test set, once, after training.
    """

    runs: str = "runs"
    wandb: Literal["auto", "online", "offline", "off"] = "auto"
    project: str = "genlab"
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    upload_checkpoints: Literal["off", "best", "all"] = "off"
    test_after_fit: bool = True

    def loggers(self, run: Path, recipe: str, config: dict[str, Any]) -> list[Logger]:
        """The loggers of the run in directory ``run``.

        Args:
            run: the run directory; its run.json remembers the W&B id.
            recipe: the recipe's name, the default W&B group.
            config: the resolved recipe and the run's facts, for W&B's configuration.
        """
        loggers: list[Logger] = [CSVLog(run / "metrics.csv")]
        if self.wandb != "off" and os.environ.get("WANDB_MODE") != "disabled":
            loggers.append(self._wandb(run, recipe, config))
        return loggers

    def _wandb(self, run: Path, recipe: str, config: dict[str, Any]) -> WandbRun:
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        offline = self._offline()
        tags = [config[group]["class_path"].rpartition(".")[2] for group in ("model", "data")]
        run_id = runs.read_json(run / "run.json").get("wandb_id") or run.name
        logger = WandbRun(
            upload=self.upload_checkpoints,
            save_dir=str(run),
            project=self.project,
            entity=self.entity,
            id=run_id,
            name=f"{recipe}/{run.name}",
            group=self.group or recipe,
            tags=[*tags, *self.tags],
            offline=offline,
            job_type="fit",
            settings=wandb.Settings(silent=True),
        )
        logger.configure(config)
        if offline:
            _say_offline(run)
        return logger

    def _offline(self) -> bool:
        mode = os.environ.get("WANDB_MODE", self.wandb)
        return mode == "offline" if mode in ("online", "offline") else not _server()[1]


@rank_zero_only
def _say_offline(run: Path) -> None:
    print(
        f"W&B is offline; to upload: wandb sync {shlex.quote(str(run))}/wandb/offline-run-*",
        file=sys.stderr,
    )


def wandb_state() -> str:
    """In words, what ``track.wandb: auto`` comes to on this machine."""
    host, ready = _server()
    if ready:
        return f"online at {host}"
    return f"offline ({'no network' if _has_key(host) else 'no key: wandb login'} for {host})"


def _server() -> tuple[str, bool]:
    """W&B's host, and whether there is a key for it and a way to it."""
    url = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
    host = url.hostname or ""
    return host, _has_key(host) and _reachable(host, url.port or 443)


def _has_key(host: str) -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _reachable(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=3):
            return True
    except OSError:
        return False
