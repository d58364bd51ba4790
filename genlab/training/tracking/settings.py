"""Settings of tracking: metrics.csv always, Weights & Biases in addition."""

from __future__ import annotations

import netrc
import os
import re
import secrets
import shlex
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlparse

from lightning.pytorch.loggers import Logger

from genlab import process, recipes, runs
from genlab.training.tracking.csv_log import CSVLog
from genlab.training.tracking.wandb_run import FLUSH_SECONDS, WandbRun, reason, say

if TYPE_CHECKING:
    from genlab.training.tracking.other_loggers import Planned

SERVER = "https://api.wandb.ai"
INIT_SECONDS, FINISH_SECONDS = 30, 600  # that a run waits for a W&B server, at its start and end


@dataclass
class Tracking:
    """Folder and tracking of runs: the ``track:`` group of a recipe.

    Args:
        runs: folder of all run directories.
        wandb: ``auto`` (online with a key and a network, else offline), ``online``, ``offline``
            or ``off``.
        project: W&B project.
        name: W&B name of the run; null is the recipe's name and the run's id.
        notes: W&B notes, for whoever reads the run later.
        entity: W&B team or user; null is the account's default.
        group: W&B group; null is ``slurm-JOB`` in a job array, else the recipe's name.
        loggers: further loggers: ``tensorboard``, ``mlflow``, ``comet``, or a class of Lightning's
            or your own as ``{class_path: NAME, init_args: {...}}``; they write into the run
            directory unless told otherwise, and take keys and passwords from the environment only.
        tags: W&B tags in addition to method and data.
        upload_checkpoints: ``off``, ``best`` or ``all``, as W&B artifacts.
        test_after_fit: evaluate the selected checkpoint on the test set, once, after training.
        nonfinite: answer to a step whose loss or gradient is not finite: ``stop`` ends training,
            ``skip`` goes on with the next batch; neither updates anything.
        nonfinite_limit: number of such steps in a row that end training under ``skip``, and of
            steps that a gradient scaler skips.
        links: whole states of the training to keep in ``links/``, for ``genlab verify``; 0 for
            none, 20 are enough.
        links_gb: size of that folder, in 10^9 bytes; links are fewer where they are too large.
        diff: keep in the run, in ``code/``, how the code differs from its revision in git; W&B
            never gets it.
        keep_gb: size of all links, captures of ``track.nonfinite`` and archives of runs below
            ``track.runs``, in 10^9 bytes: at a run's end the oldest links and captures go,
            archives only count; null for no limit.
    """

    runs: str = "runs"
    wandb: Literal["auto", "online", "offline", "off"] = "auto"
    project: str = "genlab"
    name: str | None = None
    notes: str | None = None
    entity: str | None = None
    group: str | None = None
    loggers: list[str | dict[str, Any]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    upload_checkpoints: Literal["off", "best", "all"] = "off"
    test_after_fit: bool = True
    nonfinite: Literal["stop", "skip"] = "stop"
    nonfinite_limit: int = 50
    links: int = 0
    links_gb: float = 5.0
    diff: bool = True
    keep_gb: float | None = None

    def __post_init__(self) -> None:
        self.planned: Sequence[Planned] = ()  # of `loggers`, see `other_loggers.plan`
        if self.links < 0:
            raise ValueError(f"track.links must be at least 0, not {self.links}")
        if not self.links_gb > 0:
            raise ValueError(f"track.links_gb must be above 0, not {self.links_gb}")
        if self.keep_gb is not None and not self.keep_gb > 0:
            raise ValueError(f"track.keep_gb must be above 0, not {self.keep_gb}")

    @property
    def room(self) -> tuple[float, str]:
        """Size of a run's links, no more than all are to take, and the setting that says so."""
        own = self.links_gb, "track.links_gb"
        return own if self.keep_gb is None else min(own, (self.keep_gb, "track.keep_gb"))

    def started(self, run: Path, recipe: str, config: dict[str, Any]) -> list[Logger]:
        """The loggers of the run in directory ``run``, started.

        Args:
            run: the run directory; its run.json remembers the W&B id.
            recipe: the recipe's name, the default W&B group.
            config: the resolved recipe and the run's facts, for W&B's configuration.
        """
        loggers: list[Logger] = [CSVLog(run / "metrics.csv")]
        if self.uses_wandb():
            loggers.append(self.wandb_run(run, recipe, config))
        facts = config.get("run", {})
        step = facts.get("history", [{"step": 0}])[-1]["step"]
        name = str(facts.get("wandb_id", run.name))
        for planned in self.planned if process.is_first() else []:
            logger = planned.start(config, name, step)
            loggers += [] if logger is None else [logger]
        return loggers

    def uses_wandb(self) -> bool:
        """True if the runs are W&B's too."""
        return self.wandb != "off" and os.environ.get("WANDB_MODE") != "disabled"

    def wandb_run(self, run: Path, recipe: str, config: dict[str, Any]) -> Logger:
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
                say(f"W&B {what} ({reason(error)}); metrics.csv goes on")
                for left in set(run.glob("wandb/run-*")) - before:
                    shutil.rmtree(left, ignore_errors=True)  # an online run that never began
                continue
            for facts in config.get("run", {}).get("parents", {}).values():
                logger.use(facts)
            if offline:
                say(f"W&B is offline; to upload: genlab sync {shlex.quote(str(run))}")
            return logger
        return DummyLogger()

    def _logger(self, run: Path, recipe: str, config: dict[str, Any], offline: bool) -> WandbRun:
        import wandb

        limits: dict[str, Any] = {"init_timeout": INIT_SECONDS, "finish_timeout": FINISH_SECONDS}
        limits |= {"finish_timeout_raises": True, "x_transaction_log_flush_interval": FLUSH_SECONDS}
        secret = sys.argv != recipes.without_credentials(sys.argv)
        limits |= {"x_disable_meta": secret}  # W&B keeps the command line
        limits |= {"disable_git": True, "save_code": False}  # it uploads differences from HEAD
        known = wandb.Settings.model_fields.keys()  # older versions wait for ever
        tags = [config[group]["class_path"].rpartition(".")[2] for group in ("model", "data")]
        array = os.environ.get("SLURM_ARRAY_JOB_ID")
        return WandbRun(
            upload=self.upload_checkpoints,
            save_dir=str(run),
            project=self.project,
            entity=self.entity,
            id=runs.read_json(run / "run.json").get("wandb_id") or run.name,
            name=self.name or f"{recipe}/{run.name}",
            notes=self.notes,
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


def wandb_state() -> str:
    """Describe the effect of ``track.wandb: auto`` on this machine."""
    host, ready = _server()
    if ready:
        return f"online at {host}"
    return f"offline ({'no network' if _has_key(host) else 'no key: wandb login'} for {host})"


def no_upload_because() -> str:
    """Reason why uploads are impossible here, and what to do; empty if they are possible."""
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
