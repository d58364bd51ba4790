"""Private and undocumented parts of wandb and of Lightning's logger for it."""

from __future__ import annotations

import sys
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import wandb
    from lightning.pytorch.loggers import WandbLogger

LAUNCH = "_detect_and_apply_job_inputs"  # of wandb's runs
HEADER = 7  # bytes of a .wandb file before its first record


def drop_anonymous(logger: WandbLogger) -> None:
    """Take ``anonymous`` out of what Lightning hands to ``wandb.init``, which warns of it always.

    Another version may keep its arguments elsewhere: then the warning stays.
    """
    getattr(logger, "_wandb_init", {}).pop("anonymous", None)


def skip_launch() -> None:
    """Keep wandb from importing its Launch at every start, which takes a second.

    It would look for inputs of Launch; only code that has imported ``wandb.sdk.launch`` can have
    staged some. Another version may have no such method.
    """
    from wandb.sdk.wandb_run import Run

    look = getattr(Run, LAUNCH, None)
    if look is None or hasattr(look, "__wrapped__"):
        return

    @wraps(look)
    def look_if_imported(run: Run) -> None:
        if "wandb.sdk.launch" in sys.modules:
            look(run)

    setattr(Run, LAUNCH, look_if_imported)


def drop_farewell() -> None:
    """Take wandb's hook off the program's exit.

    Of a service that is gone it would tell once more, in thirty lines. Another version may have no
    such hook.
    """
    from wandb.sdk import wandb_setup

    connection = getattr(wandb_setup.singleton(), "_connection", None)
    unregister = getattr(connection, "_cleanup", None)
    if unregister is not None:
        unregister()


def is_synced(part: Path) -> bool:
    """True if ``wandb sync`` has left its mark, a .synced file next to the .wandb file.

    Its exit code is 0 whatever happened.
    """
    return any(part.glob("*.wandb.synced"))


def has_records(part: Path) -> bool:
    """True if an offline part contains anything after its file's header."""
    return any(file.stat().st_size > HEADER for file in part.glob("*.wandb"))


def use_artifact(run: Any, artifact: wandb.Artifact) -> None:
    """Declare an artifact that is made here as an input of a run.

    The public ``use_artifact`` refuses offline runs, and online it waits for the server. Another
    version may have no such method: then the run has one input fewer in W&B's graph.
    """
    log = getattr(run, "_log_artifact", None)
    if log is not None:
        log(artifact, aliases=[], is_user_created=True, use_after_commit=True)
