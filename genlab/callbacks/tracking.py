"""Where a run's figures go: metrics.csv always, Weights & Biases beside it."""

from __future__ import annotations

import json
import netrc
import os
import re
import secrets
import shlex
import shutil
import socket
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from threading import Thread
from typing import Any, Literal
from urllib.parse import urlparse

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genlab import runs
from genlab.callbacks.checkpoints import Checkpoints
from genlab.callbacks.csv_log import CSVLog

SERVER = "https://api.wandb.ai"
INIT_SECONDS, FINISH_SECONDS = 30, 600  # that a run waits for a W&B server, at its start and end
PAUSE_SECONDS = 20  # and before it goes back into Slurm's queue


def _never_fatal(function: Callable[..., Any]) -> Callable[..., Any]:
    """W&B's troubles are said once and end W&B's part, never the training."""

    @wraps(function)
    def guarded(self: WandbRun, *args: Any, **kwargs: Any) -> Any:
        if self.lost:
            return None
        try:
            return function(self, *args, **kwargs)
        except Exception as error:  # the service's socket, a full disk, a timeout, an answer
            self.lost = _reason(error)
            _say(f"W&B is lost ({self.lost}); metrics.csv goes on")
        return None

    return guarded


class WandbRun(WandbLogger):
    """Lightning's W&B logger with one identity for a run's whole life and our checkpoint upload.

    What W&B or the way to it does wrong after the start never ends a training.

    Args:
        upload: ``off``, ``best`` (once, at the end) or ``all`` (each file as it is written).
        kwargs: Lightning's and ``wandb.init``'s arguments.
    """

    def __init__(self, upload: str = "off", **kwargs: Any) -> None:
        super().__init__(log_model=False, **kwargs)
        self._wandb_init.pop("anonymous", None)  # wandb warns of it whatever it is
        self.upload = upload
        self.lost = ""  # the reason, once W&B has failed
        self._checkpoints: Checkpoints | None = None

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the resolved recipe is the configuration (see `configure`)."""

    @rank_zero_only
    def configure(self, config: dict[str, Any]) -> None:
        """Put a plain nested dictionary into the run's configuration."""
        self.experiment.config.update(
            json.loads(json.dumps(config, default=str)), allow_val_change=True
        )

    @_never_fatal
    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        """Lightning's, never fatal."""
        super().log_metrics(*args, **kwargs)

    @_never_fatal
    def log_image(self, *args: Any, **kwargs: Any) -> None:
        """Lightning's, never fatal."""
        super().log_image(*args, **kwargs)

    @rank_zero_only
    @_never_fatal
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Upload the file just written, if all are wanted."""
        self._checkpoints = checkpoint_callback
        if self.upload == "all" and checkpoint_callback.newest:
            self._upload(checkpoint_callback.newest)

    @rank_zero_only
    @_never_fatal
    def close(self) -> None:
        """Upload the selected checkpoint if wanted, and end the W&B run with everything written."""
        import wandb

        best = self._checkpoints and self._checkpoints.best_path
        if self.upload == "best" and best:
            self._upload(best)
        self.experiment.finish()
        wandb.teardown()

    @rank_zero_only
    @_never_fatal
    def pause(self) -> None:
        """End this part of a run that another start continues, in `PAUSE_SECONDS` at most.

        A job that is about to be requeued cannot wait for a server that does not answer.
        """
        ending = Thread(target=self.experiment.finish, daemon=True)
        ending.start()
        ending.join(PAUSE_SECONDS)
        if ending.is_alive():
            raise TimeoutError("its server does not take what is left")

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
        group: W&B group; null is ``slurm-JOB`` in a job array, else the recipe's name.
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

    def _wandb(self, run: Path, recipe: str, config: dict[str, Any]) -> Logger:
        """The W&B logger, started: online, else offline, else one that does nothing."""
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb
        from lightning.pytorch.loggers.logger import DummyLogger

        before = set(run.glob("wandb/run-*"))
        for offline in (False, True):
            if not offline and self._offline():
                continue
            try:
                logger = self._logger(run, recipe, config, offline)
                logger.configure(config)
            except Exception as error:  # W&B's errors have no common base
                wandb.teardown()  # its service would say that the id is in use
                what = "cannot be written" if offline else "cannot be reached"
                _say(f"W&B {what} ({_reason(error)}); metrics.csv goes on")
                for left in set(run.glob("wandb/run-*")) - before:
                    shutil.rmtree(left, ignore_errors=True)  # an online run that never began
                continue
            if offline:
                _say(f"W&B is offline; to upload: genlab sync {shlex.quote(str(run))}")
            return logger
        return DummyLogger()

    def _logger(self, run: Path, recipe: str, config: dict[str, Any], offline: bool) -> WandbRun:
        import wandb

        limits: dict[str, Any] = {"init_timeout": INIT_SECONDS, "finish_timeout": FINISH_SECONDS}
        limits |= {"finish_timeout_raises": True}
        known = wandb.Settings.model_fields.keys()  # older versions wait for ever
        tags = [config[group]["class_path"].rpartition(".")[2] for group in ("model", "data")]
        array = os.environ.get("SLURM_ARRAY_JOB_ID")
        return WandbRun(
            upload=self.upload_checkpoints,
            save_dir=str(run),
            project=self.project,
            entity=self.entity,
            id=runs.read_json(run / "run.json").get("wandb_id") or run.name,
            name=f"{recipe}/{run.name}",
            group=self.group or (f"slurm-{array}" if array else recipe),
            tags=[*tags, *self.tags],
            offline=offline,
            job_type="fit",
            settings=wandb.Settings(silent=True, **{k: limits[k] for k in limits.keys() & known}),
        )

    def _offline(self) -> bool:
        mode = os.environ.get("WANDB_MODE", self.wandb)
        if mode in ("online", "offline", "dryrun"):  # the last is Lightning's word for offline
            return mode != "online"
        return not _server()[1]


def wandb_identity(run: Path) -> str:
    """The W&B id of a new run: its directory's name, made unique where that only counts.

    Slurm's job numbers and a sweep's trials begin anew on another cluster, and two runs of one id
    in one project are one run to W&B. Under W&B's own sweep agent the agent has chosen.
    """
    if os.environ.get("WANDB_SWEEP_ID") and (chosen := os.environ.get("WANDB_RUN_ID")):
        return chosen
    dated = re.match(r"\d{8}-\d{6}-[0-9a-f]{4}", run.name)
    return run.name if dated else f"{run.name}-{secrets.token_hex(2)}"


@rank_zero_only
def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _reason(error: BaseException) -> str:
    """An error's text in one line of at most 240 characters."""
    return textwrap.shorten(str(error) or repr(error), 240, placeholder=" ...")


def wandb_state() -> str:
    """In words, what ``track.wandb: auto`` comes to on this machine."""
    host, ready = _server()
    if ready:
        return f"online at {host}"
    return f"offline ({'no network' if _has_key(host) else 'no key: wandb login'} for {host})"


def no_upload_because() -> str:
    """Why nothing can be uploaded from here, and what to do; empty when it can."""
    host, ready = _server()
    if ready:
        return ""
    if not _has_key(host):
        return f"no W&B key for {host}: run `wandb login` once or set WANDB_API_KEY"
    return f"W&B's server {host} does not answer: try again where there is a network"


def _server() -> tuple[str, bool]:
    """W&B's host, and whether there is a key for it and a way to it."""
    url = urlparse(os.environ.get("WANDB_BASE_URL", SERVER))
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
