"""Run directories: name, make, find, lock and describe them. Imports no torch.

``runs/<recipe>/<run id>/`` contains ``recipe.yaml``, ``run.json``, ``checkpoints/``,
``metrics.csv``, ``metrics.json``, ``pictures/`` and ``wandb/``. One directory belongs to one run.
"""

from __future__ import annotations

import difflib
import fcntl
import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from genlab.errors import RunError, cannot_write
from genlab.files import check_regular, keep_damaged, replacing, step_of, text_of
from genlab.process import new_id, note

FOLDERS = ("checkpoints", "pictures")
RUN_VARIABLE = "GENLAB_RUN_DIR"  # set before any process is spawned: children share the directory


def directory(root: str | Path, recipe: str) -> Path:
    """The directory that a new run of ``recipe`` is to use; the same on all its processes."""
    if RUN_VARIABLE in os.environ and "LOCAL_RANK" in os.environ:  # a process of the same launch
        return Path(os.environ[RUN_VARIABLE])
    path = Path(root).absolute() / recipe / new_id()
    os.environ[RUN_VARIABLE] = str(path)
    return path


def sweep(path: Path) -> None:
    """Remove partial files left by a killed process; only under the run's `lock`."""
    for file in [*path.glob(".*.tmp"), *(path / "checkpoints").glob(".*.tmp")]:
        file.unlink(missing_ok=True)


def make(path: Path) -> Path:
    """Create a run directory with its folders.

    Raises:
        RunError: the place cannot be written.
    """
    try:
        for folder in FOLDERS:
            _make_folder(path / folder)
        probe = path / f".writable.{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        drop_empty(path)
        hint = "choose another place with track.runs=DIR"
        raise cannot_write(f"the run directory {path}", error, hint) from None
    return path


def _make_folder(folder: Path) -> None:
    """Create a folder, again if a refused run next to it takes the folders above away."""
    for _ in range(5):
        with suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)
            return
    folder.mkdir(parents=True, exist_ok=True)


def drop_empty(path: Path) -> None:
    """Remove a run directory in which nothing is, and the folders above it that are then empty."""
    drop_empty_folders([*(path / folder for folder in FOLDERS), path, *path.parents[:3]])


def drop_empty_folders(folders: Iterable[Path]) -> None:
    """Remove folders, innermost first, up to the first one that holds something."""
    for folder in folders:
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return


def remove(path: Path) -> None:
    """Remove a refused run, and the folders above it that are then empty."""
    shutil.rmtree(path)
    drop_empty_folders(path.parents[:3])  # of the data, of the method, and of all runs


def lock(path: Path) -> TextIO:
    """Lock a run directory for this process until the returned file is closed.

    Waits two seconds for a look to end (`genlab compare`), in a requeued job two minutes: a network
    file system frees a dead node's lock late.

    Raises:
        RunError: another live process is training in it.
    """
    handle = _own_file(path / ".lock")
    requeued = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
    end = time.monotonic() + (120 if requeued else 2)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
    except BlockingIOError:
        handle.seek(0)
        owner = handle.read().strip() or "another process"
        handle.close()
        raise RunError(f"{path} is in use by {owner}; wait for it or stop it first") from None
    except OSError:  # a file system without locks: the directory's own id is the protection left
        return handle
    handle.truncate(0)
    with suppress(OSError):  # a full disk: the name of the owner is for messages only
        os.write(handle.fileno(), f"process {os.getpid()} on {os.uname().nodename}\n".encode())
    return handle


def _own_file(file: Path) -> TextIO:
    """A small file to read and append to, made if it is not there; a link is not followed.

    Raises:
        RunError: it is a link, or cannot be opened.
    """
    try:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        return os.fdopen(os.open(file, flags, 0o644), "a+")
    except OSError as error:
        if file.is_symlink():
            raise RunError(f"cannot open {file}: it is a link") from None
        raise cannot_write(file, error) from None


def held(path: Path) -> bool:
    """True if a live process has locked a run directory, see `lock`."""
    try:
        with (path / ".lock").open() as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def is_run(path: Path) -> bool:
    """True if a folder is a run directory."""
    return os.path.isfile(path / "recipe.yaml")  # False for any odd path


def find(word: str | Path, root: str | Path = "runs") -> Path:
    """The run directory that a path, a run id or a recipe's name (its newest run) means.

    Raises:
        RunError: none, or several.
    """
    path = Path(word)
    if os.path.isfile(path) and path.parent.name == "checkpoints" and is_run(path.parent.parent):
        return path.parent.parent
    if is_run(path):
        return path
    known = every(root)
    named = [run for run in known if run.name == str(word)]
    if len(named) == 1:
        return named[0]
    of_recipe = [run for run in known if run.parent.relative_to(root).as_posix() == str(word)]
    if of_recipe:
        return max(of_recipe, key=lambda run: (run / "recipe.yaml").stat().st_mtime_ns)
    seen = f"; the newest run is {known[-1]}" if known else f"; there are no runs under {root}/"
    names = {run.parent.relative_to(root).as_posix() for run in known} | {run.name for run in known}
    near = difflib.get_close_matches(str(word), names, n=1, cutoff=0.7)
    seen += f"\ndid you mean {near[0]}?" if near else ""
    what = (
        "is a folder without recipe.yaml, not a run"
        if os.path.isdir(path)
        else "is not a run directory"
    )
    raise RunError(f"{word} {what}{seen}")


def every(root: str | Path = "runs") -> list[Path]:
    """All run directories below ``root``, oldest first."""
    found = [p.parent for p in Path(root).glob("**/recipe.yaml") if p.is_file()]
    return sorted(found, key=lambda run: (run / "recipe.yaml").stat().st_mtime_ns)


def whole(file: Path) -> bool:
    """True if a checkpoint file is complete: its table of contents and all checksums are right."""
    try:
        check_regular(file)
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except Exception:  # a flipped bit can ask for an unknown compression, name, version ...
        return False


def newest(run: Path) -> Path | None:
    """The newest whole checkpoint of a run, to continue from; None before the first one."""
    return next((file for file in checkpoints(run) if whole(file)), None)


def checkpoints(run: Path) -> list[Path]:
    """The checkpoint files of a run, whole or not, the newest first."""
    files = [file for file in (run / "checkpoints").glob("*.ckpt") if file.is_file()]
    return sorted(files, key=lambda f: (step_of(f), f.stat().st_mtime_ns), reverse=True)


def checkpoint(path: str | Path, unfit: Callable[[Path, str], str] | None = None) -> Path:
    """The checkpoint that ``path`` means: the file itself, or a run's best, else its newest whole.

    A recipe's name means its newest finished run that has one.

    Args:
        path: file, run directory, run id or recipe's name.
        unfit: function of a run and its recipe's name that says why the name does not mean it;
            empty if it may.

    Raises:
        RunError: nothing there.
    """
    path = Path(path)
    if os.path.isfile(path):
        return path
    if not os.path.exists(path) and path.suffix in (".ckpt", ".pt", ".pth", ".safetensors"):
        raise RunError(f"no checkpoint {path}")
    run = find(path)
    named = is_run(path) or run.name == str(path)
    tried = [run] if named else _finished(path, run.parent, unfit or (lambda run, name: ""))
    file = next((file for one in tried if (file := _best(one)) is not None), None)
    if file is None:
        raise RunError(f"{run} has no whole checkpoint yet")
    return file


def _finished(name: Path, folder: Path, unfit: Callable[[Path, str], str]) -> list[Path]:
    """The finished runs of a recipe that its name may mean, newest first.

    Raises:
        RunError: none.
    """
    known = [run for run in reversed(every()) if run.parent == folder]
    reasons = {run: _unfinished(run) or unfit(run, name.as_posix()) for run in known}
    found = [run for run, reason in reasons.items() if not reason]
    if not found:
        raise RunError(
            f"{name} has no finished run with the recipe's own data; the newest run "
            f"{reasons[known[0]]}\nname it by its path to use it: {known[0]}"
        )
    return found


def _unfinished(run: Path) -> str:
    """Why a run has not come to its end, or does not stand there now; empty if it does."""
    if not (run / "metrics.json").is_file():
        return "is not finished"
    if held(run):
        return "is being trained"
    return "has failed" if read_json(run / "run.json").get("failed") else ""


def picture(checkpoint: Path, name: str) -> Path:
    """Path of an image made from a checkpoint: in its run's ``pictures/``, else next to it."""
    run = checkpoint.parent.parent
    return (run / "pictures" if is_run(run) else checkpoint.parent) / name


def _best(run: Path) -> Path | None:
    best = run / "checkpoints" / "best.ckpt"
    return best if best.is_file() and whole(best) else newest(run)


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file in one step; a damaged one is copied first."""
    if kept := keep_damaged(file):
        note(f"{file} is damaged: it is written anew, and kept as {kept.name}")
    with replacing(file) as draft:
        draft.write_text(json.dumps(content, indent=2) + "\n")


def whole_number(value: Any, default: int = 0) -> int:
    """A number out of a file that anybody may have edited."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def read_json(file: Path) -> dict[str, Any]:
    """The content of a JSON file, empty when there is none or it is damaged."""
    try:
        content = json.loads(text_of(file))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
