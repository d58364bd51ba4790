"""``sync``: what W&B kept offline goes up, the oldest part of each run first."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path

from genlab import runs as run_directories
from genlab.errors import RunError
from genlab.experiments.comparison import chosen
from genlab.internals.messages import sync_failure
from genlab.internals.wandb_parts import has_records, is_synced

NAME = re.compile(r"offline-run-(\d{8}_\d{6})-(.+)")


def sync_options(parser: ArgumentParser) -> None:
    """Upload runs that W&B kept offline, each run's oldest part first."""
    parser.add_argument("runs", nargs="*", metavar="RUN|ID|RECIPE|SWEEP", help="default: all")
    parser.add_argument("--dry-run", action="store_true", help="print what would go up, in order")
    parser.add_argument("--runs-in", dest="root", default="runs", metavar="DIR")


def parts(run: Path) -> list[Path]:
    """A run's offline directories, oldest first: one for each start (requeue, resume)."""
    found = [path for path in run.glob("wandb/offline-run-*") if NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.name)


def pending(found: Iterable[Path]) -> list[Path]:
    """The parts still to go up, run by run, each run's oldest first.

    Not the last part of a run that is training: it would count as up, and the rest never go. Nor
    parts without a record, of starts that ended at once.
    """
    every = [
        part for run in found for part in parts(run)[: -1 if run_directories.held(run) else None]
    ]
    return [part for part in every if not is_synced(part) and has_records(part)]


def sync(runs: list[str], dry_run: bool = False, root: str = "runs") -> int:
    """Upload the offline parts of runs, one ``wandb sync`` each; what is up already is skipped."""
    found = [run.path for run in chosen(runs, root)] if runs else run_directories.every(root)
    waiting = pending(found)
    if not waiting:
        print(f"nothing to sync: {len(found)} runs looked at")
        return 0
    if dry_run:
        print("\n".join(os.path.relpath(part) for part in waiting))
        return 0
    from genlab.training.tracking.settings import no_upload_because

    if reason := no_upload_because():
        raise RunError(f"{reason}\n{len(waiting)} parts wait; genlab sync --dry-run lists them")
    stuck: set[Path] = set()
    for number, part in enumerate(waiting, 1):
        run = part.parent.parent
        if run in stuck:  # a later part must not come before an earlier one
            continue
        print(f"{number} of {len(waiting)}: {os.path.relpath(part)}", file=sys.stderr)
        if reason := _upload(part):
            stuck.add(run)
            print(f"not uploaded: {reason}", file=sys.stderr)
    print(f"{len(waiting) - len(pending(found))} of {len(waiting)} parts are up")
    return 1 if stuck else 0


def _upload(part: Path) -> str:
    """Upload one part; the reason when it is not up afterwards."""
    program = "import sys; from wandb.cli.cli import cli; sys.exit(cli())"
    command = [sys.executable, "-P", "-c", program, "sync", str(part)]
    environment = {k: v for k, v in os.environ.items() if k not in ("WANDB_MODE", "WANDB_SILENT")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return "" if is_synced(part) else sync_failure(done.stdout + done.stderr)
