"""Archives: a run as one ``.tar.gz`` next to its place, with its checksum, and back again.

The folder goes once the archive has been read again and every file in it has the checksum that it
had on the disk, and nothing was written to it meanwhile. Of links those stay that lead to a file of
the run; a run with others is refused, but those of W&B lead to its logs of this machine, and go.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, Any

from genlab.errors import RunError, first_line
from genlab.files import new_file, replacing
from genlab.runs.finding import is_run
from genlab.runs.removal import drop, owned

SUFFIX, CHECKSUM = ".tar.gz", ".sha256"
LEVEL = 1  # of gzip: weights shrink hardly, whatever it costs
BLOCK = 2**20


def archive(root: str | Path, path: str) -> Path:
    """Put a run into an archive next to it, check that, and remove the run's folder.

    Args:
        root: folder of all run directories.
        path: the run's directory below it.

    Returns:
        The archive; next to it lies a file with its SHA-256, as ``sha256sum`` writes it.

    Raises:
        RunError: see `removal.owned`; or the archive is there already, or is not what it should be;
            or the run has links that lead out of it, or was written to meanwhile.
        OSError: it cannot be written.
    """
    with owned(root, path) as run:
        target = run.with_name(run.name + SUFFIX)
        if os.path.lexists(target):
            raise RunError(f"{target} is there already")
        before = _marks(run)
        with replacing(target, sync=True) as draft:
            written = _write(run, draft)
            if _contents(draft) != written:
                raise RunError(f"{target} was not written right; {run} is kept")
            _note_checksum(target, draft)
        if not drop(run, lambda hidden: _marks(hidden) == before):
            target.unlink()
            target.with_name(target.name + CHECKSUM).unlink()
            raise RunError(f"{run} was written to while it was packed; it is kept")
    return target


def _marks(run: Path) -> dict[str, tuple[int, int]]:
    """Size and time of the last change of each file in a run; of folders the name alone."""
    found = dict[str, tuple[int, int]]()
    for path, name in _below(os.fspath(run), ""):
        one = os.lstat(path)
        found[name] = (0, 0) if stat.S_ISDIR(one.st_mode) else (one.st_size, one.st_mtime_ns)
    return found


def _note_checksum(target: Path, draft: Path) -> None:
    with draft.open("rb") as stream:
        checksum = hashlib.file_digest(stream, "sha256").hexdigest()
    with replacing(target.with_name(target.name + CHECKSUM)) as file:
        file.write_text(f"{checksum}  {target.name}\n")


def _write(run: Path, draft: Path) -> dict[str, str]:
    """Write an archive; the checksum of each file in it, by name, or what a link leads to."""
    found = dict[str, str]()
    with tarfile.open(draft, "w:gz", compresslevel=LEVEL) as tar:
        for path, name in _below(os.fspath(run), run.name):
            member = tar.gettarinfo(path, name)
            if member.islnk():  # two names of one file are two files
                member.type, member.linkname = tarfile.REGTYPE, ""
                member.size = os.stat(path).st_size
            if member.isfile():
                with open(path, "rb") as stream:
                    hashing = _Hashing(stream)
                    tar.addfile(member, hashing)
                found[name] = hashing.sum.hexdigest()
            elif member.isdir() or _stays(member, path, run):
                tar.addfile(member)
                found[name] = member.linkname
            elif PurePath(name).parts[1:-1][:1] != ("wandb",):
                raise RunError(f"{path} leads out of its run: an archive would lack that")
    return found


class _Hashing:
    """A file that notes the checksum of what is read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.sum = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read, and note."""
        data = self.stream.read(size)
        self.sum.update(data)
        return data


def _below(folder: str, name: str) -> Iterator[tuple[str, str]]:
    """A folder and the files and links in it, each with its name in the archive.

    Raises:
        OSError: a folder cannot be read.
    """
    yield folder, name
    with os.scandir(folder) as found:
        inside = sorted(found, key=lambda one: one.name)
    for entry in inside:
        if entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path, f"{name}/{entry.name}")
        elif entry.is_symlink() or entry.is_file():  # a pipe or socket holds nothing
            yield entry.path, f"{name}/{entry.name}"


def _stays(member: tarfile.TarInfo, path: str, run: Path) -> bool:
    """True if a link leads to something in its run, also by the links on its way.

    Args:
        member: the link in an archive.
        path: the link on the disk.
        run: the run's folder on the disk.
    """
    above = PurePath(member.name).parent.parts[1:]  # those in the run
    place = os.path.normpath(os.path.join(*above, member.linkname))
    is_inside = not os.path.isabs(member.linkname) and PurePath(place).parts[:1] != ("..",)
    return is_inside and _is_below(path, run)


def _is_below(path: str | Path, run: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(run))


@contextmanager
def _reading(file: Path) -> Iterator[tarfile.TarFile]:
    """An archive to read, to its very end, where gzip has a checksum of all.

    Raises:
        RunError: it is damaged.
    """
    try:
        with gzip.open(file) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            yield tar
            while stream.read(BLOCK):
                pass
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"{file} is damaged: {first_line(error)}") from None


def _contents(file: Path) -> dict[str, str]:
    """As `_write` gives it, read from an archive."""
    found = dict[str, str]()
    with _reading(file) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is None:
                found[member.name] = member.linkname
            else:
                found[member.name] = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
    return found


def restore(file: Path) -> Path:
    """Unpack an archive where its run was, and remove it.

    Raises:
        RunError: not an archive of a run, another checksum than noted, or the place is taken.
        OSError: it cannot be written.
    """
    if not file.name.endswith(SUFFIX) or not os.path.isfile(file):
        raise RunError(f"{file} is not an archive: runs/RECIPE/ID{SUFFIX}")
    name = file.name.removesuffix(SUFFIX)
    run, checksum = file.with_name(name), file.with_name(file.name + CHECKSUM)
    if os.path.lexists(run):
        raise RunError(f"{run} is there already")
    _check(file, checksum)
    place = file.with_name(f".restored-{name}.{os.getpid()}.tmp")
    try:
        _unpack(file, place, name)
        if not is_run(place):
            raise RunError(f"{file} is not the archive of a run: recipe.yaml is missing in it")
        os.rename(place, run)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    file.unlink()
    checksum.unlink(missing_ok=True)
    return run


def _check(file: Path, checksum: Path) -> None:
    if checksum.is_file():
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if checksum.read_text(errors="replace").split()[:1] != [found]:
            raise RunError(f"{file} is damaged: {checksum.name} has another checksum")


def _unpack(file: Path, place: Path, name: str) -> None:
    """Write an archive's folders and files, then its links: nothing is written through one."""
    links = list[tuple[Path, tarfile.TarInfo]]()
    place.mkdir()
    with _reading(file) as tar:
        for member in tar:
            parts = PurePath(member.name).parts
            if parts[:1] != (name,) or ".." in parts or (len(parts) == 1 and not member.isdir()):
                raise RunError(f"{file} is refused: {member.name!r} lies outside its run")
            target = place.joinpath(*parts[1:])
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
            elif member.issym():
                links.append((target, member))
            elif member.isfile():
                _unpack_file(tar.extractfile(member), target, member)
    _link(links, place, file)


def _link(links: list[tuple[Path, tarfile.TarInfo]], place: Path, file: Path) -> None:
    """Make an archive's links.

    Raises:
        RunError: one leads out of the run, or lies behind one that does.
    """
    for target, member in links:
        if _is_below(target.parent, place):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(member.linkname, target)
    for target, member in links:  # now all are there that may lie on the way
        if not (_is_below(target.parent, place) and _stays(member, os.fspath(target), place)):
            raise RunError(f"{file} is refused: {member.name!r} leads out of its run")


def _unpack_file(stream: Any, target: Path, member: tarfile.TarInfo) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(new_file(target, member.mode & 0o777), "wb") as out:
        shutil.copyfileobj(stream, out, BLOCK)
        out.flush()
        os.fsync(out.fileno())  # the archive goes next
    os.utime(target, (member.mtime, member.mtime))
