"""The code that a run was trained by, out of git and what the run keeps."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import genlab
from genlab import runs
from genlab.training.provenance import code, git
from tests.conftest import Here

MARK = "_".join(("only", "in", "the", "working", "tree"))  # not in this file's own difference
SMALL = {"data.limit": 64, "data.batch_size": 32, "trainer.max_steps": 1, "track.wandb": "off",
         "track.test_after_fit": False}  # fmt: skip


def call(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(here: Here, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dirty checkout: text, bytes, a mode, a new name, a deleted and an added file."""
    folder = here.folder / "project"
    (folder / "ownlib").mkdir(parents=True)
    for name, content in {
        "a.py": "def a():\n    return 1\n", "b.bin": "\0\1\2", "gone.py": "x = 1\n",
        "umlaut ä.py": "a = 1\r\nb = 2", "run.sh": "echo\n", "empty.py": "",
        "ownlib/__init__.py": "", ".gitignore": "runs/\nsecret.py\n",
    }.items():  # fmt: skip
        (folder / name).write_bytes(content.encode())
    call(folder, "init", "-q")
    call(folder, "add", ".")
    call(folder, "commit", "-qm", "first")
    (folder / "a.py").write_text(f"def a():\n    return '{MARK}'")
    (folder / "b.bin").write_bytes(bytes(range(256)) * 9)
    (folder / "umlaut ä.py").write_bytes(b"a = 1\r\nb = 3\r\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "gone.py").unlink()
    (folder / "empty.py").write_text("now = 1\n")
    (folder / "staged.py").write_text("s = 1\n")
    call(folder, "add", "staged.py")
    monkeypatch.chdir(folder)
    places = code._places
    monkeypatch.setattr(code, "_places", lambda: [p for p in places() if p[0] != "genlab"])
    return folder


def tracked(folder: Path) -> dict[str, tuple[bytes, bool]]:
    """Content of the files that git knows, and whether they may be executed."""
    known = subprocess.run(["git", "ls-files", "-z"], cwd=folder, capture_output=True, check=True)
    files = [folder / name for name in known.stdout.decode().split("\0") if name]
    return {
        str(file.relative_to(folder)): (file.read_bytes(), bool(file.stat().st_mode & 0o100))
        for file in files
        if file.is_file()
    }


@pytest.mark.parametrize("settings", ["", "diff.noprefix true", "diff.context 0"])
def test_the_patch_makes_the_code_that_ran_out_of_its_revision(
    project: Path, tmp_path: Path, settings: str
) -> None:
    if settings:
        call(project, "config", *settings.split())
    found = code.now()
    facts = found.repositories["project"]
    (patch,) = found.patches.values()
    assert facts["changed"]
    copy = tmp_path / "copy"
    call(tmp_path, "clone", "-q", "-n", str(project), str(copy))
    call(copy, "checkout", "-q", facts["revision"])
    (tmp_path / "one.patch").write_bytes(patch)
    assert tracked(copy) != tracked(project)
    call(copy, "apply", "--index", str(tmp_path / "one.patch"))
    assert tracked(copy) == tracked(project)


def texts(folder: Path) -> list[Path]:
    return [f for f in folder.rglob("*") if f.is_file() and MARK.encode() in f.read_bytes()]


def test_a_run_keeps_the_patch_and_no_checkpoint_or_export_has_it(
    project: Path, here: Here
) -> None:
    run = genlab.fit("classifier/digits", SMALL)
    known = runs.read_json(run.path / "run.json")["git"]["project"]
    assert texts(run.path) == [run.path / known["diff"]]
    assert (run.path / known["diff"]).stat().st_mode & 0o077 == 0
    here("export", str(run.path), "--format", "torch", "--out", "out")
    exported = [file for file in (project / "out").rglob("*") if file.is_file()]
    assert exported
    assert not texts(project / "out")
    assert not any(known["diff"].encode() in file.read_bytes() for file in exported)
    assert f"{known['revision']}+" in (project / "out/README.md").read_text()
    (project / "a.py").write_text("def a():\n    return 3\n")
    genlab.fit(resume=run, settings={"trainer.max_steps": 2})
    facts = runs.read_json(run.path / "run.json")
    assert facts["history"][-1]["git"] == facts["git"] != {"project": known}
    kept = {f"code/{file.name}" for file in (run.path / "code").iterdir()}
    assert kept == {known["diff"], facts["git"]["project"]["diff"]}


@pytest.mark.slow
@pytest.mark.parametrize("format", ["timm", "onnx"])
def test_no_format_of_an_export_has_it(project: Path, here: Here, format: str) -> None:
    run = genlab.fit("classifier/digits", SMALL | {"model.encoder": "resnet10t"})
    assert texts(run.path)
    here("export", str(run.path), "--format", format, "--out", "out")
    assert [file for file in (project / "out").rglob("*") if file.is_file()]
    assert not texts(project / "out")


@pytest.mark.slow
def test_no_difference_is_kept_where_none_is_wanted(project: Path) -> None:
    other = genlab.fit("classifier/digits", SMALL | {"track.diff": False})
    facts = runs.read_json(other.path / "run.json")["git"]["project"]
    assert (facts["changed"], facts["left_out"]) == (True, "track.diff is false")
    assert not texts(other.path)


@pytest.mark.slow
def test_wandb_gets_the_revision_and_no_difference(project: Path, here: Here) -> None:
    here.folder = project
    here.anew("fit", "vae/digits", *(f"{k}={v}" for k, v in SMALL.items() if "wandb" not in k),
              "track.wandb=offline")  # fmt: skip
    (run,) = here.runs()
    known = runs.read_json(run / "run.json")["git"]["project"]
    assert texts(run) == [run / known["diff"]]
    (log,) = run.glob("wandb/offline-run-*/*.wandb")
    assert known["revision"].encode() in log.read_bytes()
    assert not list(run.glob("wandb/**/*.patch"))


def test_imported_files_that_git_does_not_know_are_hashed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "secret.py").write_text("k = 1\n")  # ignored, and imported
    (project / "ownlib/new.json").write_text("{}")
    (project / "ownlib/notes.tmp").write_text("")
    (project / ".gitignore").write_text("runs/\nsecret.py\n*.tmp\n")
    module: Any = type(sys)("secret")
    module.__file__ = str(project / "secret.py")
    monkeypatch.setitem(sys.modules, "secret", module)
    for number in range(code.MOST_FILES):  # modules of elsewhere take no place of the project's
        elsewhere: Any = type(sys)(f"elsewhere{number}")
        elsewhere.__file__ = f"/elsewhere/{number}.py"
        monkeypatch.setitem(sys.modules, elsewhere.__name__, elsewhere)
    monkeypatch.setenv("GENLAB_PLUGINS", "ownlib")
    found = code.now().files
    assert found["secret.py"] == {"bytes": 6, "sha256": hashlib.sha256(b"k = 1\n").hexdigest()}
    assert found["ownlib/new.json"]["bytes"] == 2
    assert not {"ownlib/notes.tmp", "a.py", "ownlib/__init__.py"} & found.keys()


@pytest.mark.parametrize(
    "line",
    [
        "API_KEY = 'a1b2c3d4e5f6g7h8'", "url = 'https://me:word@host.org/x'",
        "-----BEGIN OPENSSH PRIVATE KEY-----", "use('hf_abcdefghijklmnopqrs')",
        "WANDB_API_KEY=" + "0123456789abcdef" * 2 + "01234567", "password: hunter2hunter2",
        "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY",
        "login(key='" + "0123456789abcdef" * 2 + "')", "login(key=" + "a1b2c3d4" * 5 + ")",
    ],
)  # fmt: skip
def test_a_difference_with_a_password_or_token_is_left_out(project: Path, line: str) -> None:
    (project / "a.py").write_text(line)
    found = code.now()
    facts = found.repositories["project"]
    assert facts["changed"]
    assert "password or token" in facts["left_out"]
    assert not found.patches


@pytest.mark.parametrize(
    "line",
    [
        "tokens = self.embedding(images)", "token = tokens[:, 0]", "key = (height, width)",
        "secret: str | None = None", "num_tokens=self.grid_size**2+1", "keys = " + "ab" * 20,
        "fingerprint: " + "0123456789abcdef" * 4, "self.key = nn.Linear(64, 64)",
    ],
)  # fmt: skip
def test_code_of_models_is_no_password(line: str) -> None:
    assert not code._has_secret(line.encode())


def test_a_large_difference_is_left_out_and_says_so(project: Path) -> None:
    (project / "a.py").write_bytes(bytes(range(256)) * 9000)
    (project / "b.bin").write_bytes(hashlib.shake_256(b"").digest(2_000_000))
    facts = code.now().repositories["project"]
    assert facts["changed"]
    assert "more than 1,048,576 bytes" in facts["left_out"]


def test_without_git_or_a_repository_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "project" not in code.now().repositories
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code.now().facts["git"] is None
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\n/bin/sleep 60 & /bin/sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(git, "SECONDS", 0.1)
    start = time.monotonic()
    assert code.now().facts["git"] is None
    assert time.monotonic() - start < 10


def test_filters_of_a_repository_are_not_started(project: Path, tmp_path: Path) -> None:
    mark = tmp_path / "MARK"
    (project / ".gitattributes").write_text("*.py filter=bad diff=bad\n")
    for key in ("filter.bad.clean", "diff.bad.command", "diff.bad.textconv", "diff.external"):
        call(project, "config", key, f"touch {mark}; cat")
    call(project, "config", "filter.bad.required", "true")
    (project / "empty.py").write_text("other = 1\n")
    assert code.now().patches
    assert not mark.exists()
    subprocess.run(["git", "diff", "HEAD"], cwd=project, capture_output=True)  # the control
    assert mark.exists()


def test_revisions_are_told_in_one_word() -> None:
    known = {"genlab": {"revision": "a", "changed": True}, "project": {"revision": "b"}}
    assert code.revisions(known) == {"genlab": "a+", "project": "b"}
    assert code.revisions("c+") == {"project": "c+"}
    assert code.revisions(None) == {}


def test_others_are_told_revisions_only() -> None:
    git = {"project": {"revision": "a", "changed": True, "diff": "code/1.patch"}}
    start = {"step": 0, "fingerprint": "f"}
    facts = {"seed": 1, "git": git, "files_not_in_git": {"b.py": {}}}
    told = code.without_files(facts | {"history": [start | {"git": git}]})
    assert told == {"seed": 1, "git": {"project": "a+"}, "history": [start]}
    assert code.without_files(facts) == {"seed": 1, "git": {"project": "a+"}}
