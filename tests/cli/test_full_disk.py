"""A disk that is full while a command writes: one line, exit code 1, and the former file."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from genlab import checkpoints, runs
from genlab.checkpoints.export import programs
from genlab.cli import run as run_words
from genlab.methods import Classifier
from tests.cli.test_export import save
from tests.conftest import Here, Shell
from tests.data.test_image_folder import classes
from tests.full_disk import FullDisk
from tests.training.test_full_disk import go

TINY = (
    "trainer.max_epochs=1", "trainer.log_every_n_steps=1", "track.wandb=off", "data.limit=60",
    "data.batch_size=8", "data.val_size=20", "track.test_after_fit=false",
)  # fmt: skip
FULL = "No space left on device"
OUTPUTS = {  # the command for each file, with RUN for a run; the last word names it
    "features.npz": "embed RUN data.limit=20 --out",
    "new.png": "sample RUN -n 4 --out",
    "new.jpg": "sample RUN -n 4 --out",
    "new.webp": "sample RUN -n 4 --out",
    "paths.png": "interpolate RUN -n 2 --steps 2 --out",
    "copy.yaml": "cp vae/digits",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step."""
    folder = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PL_GLOBAL_SEED", "0")  # so that it is taken back
        run_words(["fit", "vae/digits", *TINY])
    return next(folder.glob("runs/vae/digits/*"))


def words_of(name: str, run: Path) -> list[str]:
    return [*OUTPUTS[name].replace("RUN", str(run)).split(), name]


def held(folder: Path) -> dict[str, bytes]:
    """Content of all files below a folder."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def one_line(said: str, target: str) -> None:
    """The line of a fault."""
    told = said.splitlines()[-1]
    assert told == f"genlab: cannot write {target}: {FULL}; what was there is kept"
    assert "Traceback" not in said


def failures(here: Here, words: Sequence[str], stride: int = 1) -> Iterator[tuple[str, str]]:
    """Writes of a command fail in turn, until none is left: the write, and what is said."""
    for k in itertools.count(1, stride):
        disk = FullDisk(here.folder, k)
        with disk.mounted():
            code, said = go(tuple(words), here.capture)
        if disk.count < k:
            assert (code, k > 3) == (0, True), said
            return
        assert code == 1, (disk.kinds[k - 1], said)
        yield disk.kinds[k - 1], said


@pytest.mark.parametrize("name", OUTPUTS)
def test_any_write_of_an_output_may_fail(name: str, run: Path, here: Here) -> None:
    before = {} if name == "copy.yaml" else {name: b"former"}  # cp overwrites nothing
    for file, content in before.items():
        (here.folder / file).write_bytes(content)
    slow = OUTPUTS[name].startswith(("embed", "interpolate"))  # they load images
    for write, said in failures(here, words_of(name, run), 7 if slow else 1):
        one_line(said, name)
        assert held(here.folder) == before, write
    assert held(here.folder).keys() == {name}
    assert held(here.folder) != before


def test_figures_are_printed_though_their_curves_cannot_be_written(run: Path, here: Here) -> None:
    (here.folder / "curves.png").write_bytes(b"former")
    for k in (1, 2, 4):
        with FullDisk(here.folder, k).mounted():
            out, said = here("compare", str(run), "--out", "curves.png")
        assert "val/loss" in out
        assert "curves" not in out
        assert said == f"warning: curves.png is not written: {FULL}\n"
        assert held(here.folder) == {"curves.png": b"former"}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with an encoder."""
    file = tmp_path_factory.mktemp("encoder") / "x.ckpt"
    return save(Classifier(5, 1, 16, "small_cnn"), file)


@pytest.mark.parametrize("force", [False, True])
def test_an_export_is_the_new_one_or_the_former_one(
    force: bool, encoder: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_traced", lambda parts, program: program)  # seconds each
    monkeypatch.setattr(torch.export, "save", lambda made, file: file.write(b"program"))
    if force:
        (here.folder / "out").mkdir()
        for name in ("model.onnx", "model.safetensors", "theirs"):
            (here.folder / "out" / name).write_bytes(b"former")
    before = held(here.folder)
    words = ["export", str(encoder), "--out", "out", "--format", "torch", *["--force"] * force]
    for write, said in failures(here, words):
        one_line(said, "out")
        assert held(here.folder) == before, write
        assert (here.folder / "out").exists() == force
    new = {"README.md", "config.json", "head.safetensors", "model.pt2", "model.safetensors"}
    new |= {"theirs"} if force else set()
    assert held(here.folder).keys() == {
        f"out/{name}" for name in new | ({"theirs"} if force else set())
    }


@contextmanager
def limited(size: int) -> Iterator[None]:
    """The system itself refuses to let a file grow beyond a size, as a quota does."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


@pytest.mark.parametrize("name", ["new.png", "new.jpg", "new.webp", "out"])
def test_the_system_stops_in_the_middle_of_a_file(
    name: str, run: Path, encoder: Path, here: Here
) -> None:
    """Libraries that write by themselves: half an image or half the weights are never left."""
    export = ["export", str(encoder), "--format", "torch", "--out", name]
    words = export if name == "out" else ["sample", str(run), "-n", "4", "--out", name]
    with limited(300):
        code, said = go(tuple(words), here.capture)
    assert code == 1, said
    assert said == f"genlab: cannot write {name}: File too large; what was there is kept\n"
    assert not os.listdir(here.folder)


def test_packing_goes_on_wherever_the_disk_was_full(here: Here) -> None:
    classes(here.folder / "photos", 2)
    words = ("pack", "photos", "shards", "--size", "0.0005")
    here("pack", "photos", "straight", "--size", "0.0005")
    straight = held(here.folder / "straight")
    assert len([name for name in straight if name.endswith(".tar")]) > 2
    disk = FullDisk(here.folder)
    with disk.mounted():
        here(*words)
    for k in range(1, disk.count + 1, 3):
        shutil.rmtree(here.folder / "shards")
        with FullDisk(here.folder, k, stays=k % 2 == 0).mounted():
            code, said = go(words, here.capture)
        assert code == 1, disk.kinds[k - 1]
        assert said.startswith("genlab: cannot pack into shards: ")
        assert said.count(FULL) == said.count("\n") == 1
        assert said.endswith("; the same command goes on after the last whole shard\n")
        assert not (here.folder / "shards").exists()
        here(*words)
        assert held(here.folder / "shards") == straight, disk.kinds[k - 1]


PLACES = {  # commands whose output is not a file, and where it is
    "features.npz": "embed RUN data.limit=20 --out",
    "new.png": "sample RUN -n 4 --out",
    "paths.png": "interpolate RUN -n 2 --steps 2 --out",
    "copy.yaml": "cp vae/digits",
    "out": "export RUN --out",
    "shards": "pack photos",
}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
def test_pipes_and_folders_are_no_outputs(name: str, kind: str, run: Path, here: Here) -> None:
    place, words = here.folder / name, PLACES[name].replace("RUN", str(run)).split()
    if kind == "folder":
        (place / "theirs").mkdir(parents=True)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(name)
    classes(here.folder / "photos", 1)
    if (name, kind) == ("copy.yaml", "folder"):
        here(*words, name)
        assert (place / "digits.yaml").is_file()
        return
    _, said = here(*words, name, code=2)
    assert name in said
    assert len(said.splitlines()) <= 2, said
    assert sorted(os.listdir(here.folder)) == sorted({name, "photos"})


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 700 KB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=700k", "none", str(place)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("room", [4_000, 200_000, 400_000, 600_000])
def test_a_real_disk_that_is_full(room: int, tmpfs: Path) -> None:
    """The last whole checkpoint loads, and the run goes on to the straight one's weights."""
    words = ("fit", "vae/digits", *TINY, "trainer.max_steps=30", "trainer.max_epochs=30",
             "checkpoint.every_n_steps=2", "seed_everything=5")  # fmt: skip
    straight, shell = Shell(tmpfs.parent), Shell(tmpfs)
    straight(*words)
    left = shutil.disk_usage(tmpfs).free - room
    (tmpfs / "others").write_bytes(bytes(left))
    _, said = shell(*words, code=1)
    told = said[said.index("genlab: ") :].strip().splitlines()
    assert len(told) <= 2
    assert FULL in told[0]
    assert "Traceback" not in said
    (tmpfs / "others").unlink()
    if not shell.runs():  # before it was a run
        assert not list(tmpfs.glob("runs/*/*/*"))
        return
    (run,) = shell.runs()
    newest = runs.newest(run)
    assert (newest is None) == (room < 400_000)
    if newest is not None:
        assert f"{newest.name} is kept" in said
        assert checkpoints.read(newest)["global_step"] > 0
    moved = shutil.copytree(run, tmpfs.parent / "moved")
    straight("fit", "--resume", str(moved), "trainer.max_steps=30")
    ours = checkpoints.read(moved / "checkpoints" / "last.ckpt")["state_dict"]
    theirs = checkpoints.read(straight.runs()[0] / "checkpoints" / "last.ckpt")["state_dict"]
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
