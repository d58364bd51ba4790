"""Weights & Biases logger whose failures never end a training."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from threading import Thread
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genlab import checkpoints, runs
from genlab.internals import wandb_parts
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.tracking.configuration import short
from genlab.training.tracking.lineage import artifact_of

PAUSE_SECONDS = 20  # that a run waits for a W&B server before it goes back into Slurm's queue
FLUSH_SECONDS = 1  # between two writes of W&B's service to its own file


def _never_fatal(function: Callable[..., Any]) -> Callable[..., Any]:
    """Report W&B's errors once and end W&B's part, never the training."""

    @wraps(function)
    def guarded(self: WandbRun, *args: Any, **kwargs: Any) -> Any:
        if self.lost:
            return None
        try:
            return function(self, *args, **kwargs)
        except Exception as error:  # the service's socket, a full disk, a timeout, an answer
            self.lost = reason(error)
            self._lose()
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
        wandb_parts.drop_anonymous(self)
        wandb_parts.skip_launch()
        self.upload = upload
        self.lost = ""  # the reason, once W&B has failed
        self._checkpoints: Checkpoints | None = None
        self._rows: deque[tuple[float, int]] = deque(maxlen=10_000)  # when which step was logged
        self._kept: int | None = None  # the step up to which earlier starts lost nothing

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the resolved recipe is the configuration (see `configure`)."""

    @rank_zero_only
    def configure(self, config: dict[str, Any]) -> None:
        """Put a resolved recipe and its run's facts into the run's configuration, see `short`."""
        self.experiment.config.update(
            json.loads(json.dumps(short(config), default=str)), allow_val_change=True
        )

    @rank_zero_only
    @_never_fatal
    def use(self, facts: Mapping[str, Any]) -> None:
        """Name a network that the run starts from or is judged by among its artifacts.

        Args:
            facts: see `checkpoints.identify`.
        """
        wandb_parts.use_artifact(self.experiment, artifact_of(facts))

    @rank_zero_only
    @_never_fatal
    def conclude(self, final: Mapping[str, Any], former: Mapping[str, Any]) -> None:
        """Put the final metrics into the run's summary.

        Args:
            final: content of metrics.json.
            former: its content before; metrics that are no longer in it become empty.
        """
        stale = {key: None for key in former if key not in final}
        found = {key: value for key, value in (stale | dict(final)).items() if "/" in key}
        self.experiment.summary.update(found)

    @_never_fatal
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Lightning's, never fatal."""
        super().log_metrics(metrics, step)
        self._rows.append((time.monotonic(), step or 0))

    @rank_zero_only
    def repeat(self, rows: list[dict[str, str]]) -> None:
        """Log again the rows of metrics.csv that W&B lost in an earlier start, if it did."""
        facts = runs.read_json(self._facts)
        self._kept = facts.pop("wandb_kept", None)
        if self._kept is None:
            return
        for row in rows:
            if int(row["step"]) > self._kept:
                values = {k: float(v) for k, v in row.items() if v and k != "step"}
                self.log_metrics(values, int(row["step"]))
        if not self.lost:
            runs.write_json(self._facts, facts)

    @_never_fatal
    def log_image(self, *args: Any, **kwargs: Any) -> None:
        """Lightning's, never fatal."""
        super().log_image(*args, **kwargs)

    @_never_fatal
    def log_video(self, *args: Any, **kwargs: Any) -> None:
        """Lightning's, never fatal."""
        super().log_video(*args, **kwargs)

    @_never_fatal
    def log_table(self, *args: Any, **kwargs: Any) -> None:
        """Lightning's, never fatal."""
        super().log_table(*args, **kwargs)

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
        """Name the selected checkpoint, upload it if wanted, and end the W&B run."""
        import wandb

        best = self._checkpoints and self._checkpoints.best_path
        if best:
            facts = checkpoints.identify(best)
            self.experiment.log_artifact(artifact_of(facts), aliases=["best"])
        if self.upload == "best" and best:
            self._upload(best)
        self.experiment.finish()
        wandb.teardown()

    @rank_zero_only
    @_never_fatal
    def fail(self, why: str) -> None:
        """End the W&B run as failed, with the reason in its summary, as `pause` does."""
        self.experiment.summary["failed"] = why
        self._finish(1)

    @rank_zero_only
    @_never_fatal
    def pause(self) -> None:
        """End this part of a run that another start continues, in `PAUSE_SECONDS` at most.

        A job that is about to be requeued cannot wait for a server that does not answer.
        """
        self._finish(0)

    def _finish(self, code: int) -> None:
        ending = Thread(target=self.experiment.finish, args=(code,) if code else (), daemon=True)
        ending.start()
        ending.join(PAUSE_SECONDS)
        if ending.is_alive():
            raise TimeoutError("its server does not take what is left")

    @rank_zero_only
    def _lose(self) -> None:
        """Say that W&B is lost, and note in run.json up to which step it surely has all rows.

        Slurm's SIGTERM goes to W&B's service too, which ends without writing what it holds. The
        next start repeats the rows.
        """
        say(f"W&B is lost ({self.lost}); metrics.csv goes on")
        end = self._rows[-1][0] - 2 * FLUSH_SECONDS if self._rows else 0.0
        first = [self._rows[0][1] - 1] if self._rows and self._kept is None else []
        sure = [step for at, step in self._rows if at < end] or first
        kept = max(sure) if sure else self._kept
        if kept is not None:
            runs.write_json(self._facts, runs.read_json(self._facts) | {"wandb_kept": kept})
        wandb_parts.drop_farewell()

    @property
    def _facts(self) -> Path:
        """The run's run.json."""
        return Path(str(self.save_dir)) / "run.json"

    def _upload(self, file: Path) -> None:
        import wandb

        artifact = wandb.Artifact(f"model-{self.experiment.id}", type="model")
        artifact.add_file(str(file), name="model.ckpt")
        self.experiment.log_artifact(artifact, aliases=["latest", file.stem])


@rank_zero_only
def say(line: str) -> None:
    """Tell the user, once for all processes."""
    print(line, file=sys.stderr)


def reason(error: BaseException) -> str:
    """An error's text in one line of at most 240 characters."""
    return textwrap.shorten(str(error) or repr(error), 240, placeholder=" ...")
