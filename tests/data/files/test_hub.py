"""Data sets of the hub, which is one on this disk: downloaded once, whole, and never run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from genlab.data import HuggingFace, MissingDataError
from genlab.data.files.hub import CONVERTED, folder_of
from genlab.errors import NetworkError
from tests.conftest import Here
from tests.data.sources import assert_equal, batches, examples

pytest.importorskip("pyarrow")
httpx = pytest.importorskip("httpx")
errors = pytest.importorskip("huggingface_hub.errors")


class Hub:
    """A hub of one data set: files by revision, downloaded as its client does, by links."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked, self.lost = folder, list[str](), 0
        self.refuses: Callable[[], Exception] | None = None
        self.revisions: dict[str, dict[str, bytes]] = {"main": {}}

    def info(self, name: str, revision: str | None = None, timeout: float = 0) -> Any:
        self.asked.append(name)
        if self.refuses is not None:
            raise self.refuses()
        if name != "me/pets":
            raise refusal(errors.RepositoryNotFoundError)
        if (revision or "main") not in self.revisions:
            raise refusal(errors.RevisionNotFoundError)
        files = [SimpleNamespace(rfilename=name) for name in self.revisions[revision or "main"]]
        return SimpleNamespace(sha=f"commit-{revision or 'main'}".replace("/", "-"), siblings=files)

    def download(self, name: str, repo_type: str, revision: str, allow_patterns: str) -> str:
        assert repo_type == "dataset"
        root = self.folder / ".cache" / "datasets--me--pets"
        (branch,) = (one for one in self.revisions if revision.endswith(one.replace("/", "-")))
        wanted = [file for file in self.revisions[branch] if Path(file).match(allow_patterns)]
        for k, file in enumerate(wanted[: len(wanted) - self.lost]):
            blob, link = root / "blobs" / f"{revision}{k}", root / "snapshots" / revision / file
            for one in (blob, link):
                one.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(self.revisions[branch][file])
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
        return str(root / "snapshots" / revision)


def refusal(kind: Any) -> Exception:
    answer = httpx.Response(404, request=httpx.Request("GET", "https://hub.invalid/me"))
    made: Exception = kind("404 Client Error.", response=answer)
    return made


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub(tmp_path / "hub")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.dataset_info", made.info)
    monkeypatch.setattr("huggingface_hub.snapshot_download", made.download)
    made.revisions["main"] = files(tmp_path / "main") | {"README.md": b"x", "pets.py": b"1 / 0"}
    return made


def files(folder: Path, first: int = 0, inside: str = "data") -> dict[str, bytes]:
    """Parquet files of two parts."""
    from tests.data.test_hugging_face import hub as written
    from tests.data.test_hugging_face import table

    written(folder, train=table(examples(12, first)), test=table(examples(6, 50)))
    found = sorted(folder.rglob("*.parquet"))
    return {f"{inside}/{file.name}": file.read_bytes() for file in found}


def source(root: str | Path, **kwargs: Any) -> HuggingFace:
    return HuggingFace(str(root), image_size=16, batch_size=4, workers=0, val_size=3, **kwargs)


def test_a_name_gives_the_batches_of_its_files_and_is_asked_once(hub: Hub, tmp_path: Path) -> None:
    plain = batches(source(tmp_path / "main"))
    assert_equal(batches(source("hf-hub:me/pets")), plain)
    hub.revisions["main"] = files(tmp_path / "later", 30)
    hub.refuses = lambda: AssertionError("it was asked again")
    assert_equal(batches(source("hf-hub:me/pets")), plain)
    assert hub.asked == ["me/pets"]
    assert not list(tmp_path.rglob("pets.py"))


def test_a_copy_that_was_deleted_is_fetched_again(hub: Hub) -> None:
    folder = folder_of("hf-hub:me/pets")
    Path(os.path.realpath(folder / "data" / "train.parquet")).unlink()
    assert folder_of("hf-hub:me/pets") == folder
    assert (folder / "data" / "train.parquet").exists()
    assert len(hub.asked) == 2


def test_revisions_folders_and_the_hub_s_own_conversion(hub: Hub, tmp_path: Path) -> None:
    hub.revisions |= {"v2": files(tmp_path / "v2", 30), CONVERTED: files(tmp_path / "c", 60)}
    assert_equal(batches(source("hf-hub:me/pets@v2")), batches(source(tmp_path / "v2")))
    hub.revisions["main"] = {"data.zip": b"", "pets.py": b"1 / 0"}
    assert_equal(batches(source("hf-hub:me/pets")), batches(source(tmp_path / "c")))
    two = {f"{name}/{file}": data for name in ("small", "large")
           for file, data in files(tmp_path / "v2").items()}  # fmt: skip
    hub.revisions["v3"] = two
    with pytest.raises(ValueError, match=r"several data sets: large/data, small/data"):
        source("hf-hub:me/pets@v3").setup()
    assert folder_of("hf-hub:me/pets/small@v3").name == "small"
    with pytest.raises(MissingDataError, match=r"pets/smal@v3 has no Parquet .*did you mean small"):
        folder_of("hf-hub:me/pets/smal@v3")


WRONG: dict[str, tuple[str, Any, type[Exception], str]] = {
    "no owner": ("hf-hub:pets", None, ValueError, "must be hf-hub:OWNER/NAME"),
    "above": ("hf-hub:me/pets/../x", None, ValueError, "must be hf-hub:OWNER/NAME"),
    "empty": ("hf-hub:", None, ValueError, "must be hf-hub:OWNER/NAME"),
    "name": ("hf-hub:me/cats", None, MissingDataError, "the hub has no such data set"),
    "revision": ("hf-hub:me/pets@v9", None, MissingDataError, "no such revision"),
    "gated": ("hf-hub:me/pets", lambda: refusal(errors.GatedRepoError), MissingDataError,
              "is gated: accept its terms on the hub, and set HF_TOKEN"),
    "no network": ("hf-hub:me/pets", lambda: httpx.ConnectError("refused"), NetworkError,
                   r"pets cannot be downloaded: refused; .*where there is a network.*=FOLDER"),
    "off": ("hf-hub:me/pets", lambda: errors.OfflineModeIsEnabled("offline"), NetworkError,
            "cannot be downloaded: offline"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_line(hub: Hub, case: str) -> None:
    address, hub.refuses, kind, message = WRONG[case]
    with pytest.raises(kind, match=message) as said:
        folder_of(address)
    assert len(str(said.value).splitlines()) == 1


def test_a_part_of_a_download_is_none(hub: Hub) -> None:
    hub.lost = 1
    with pytest.raises(NetworkError, match="1 of 2 files have not come"):
        folder_of("hf-hub:me/pets")
    hub.lost = 0
    assert len(list((folder_of("hf-hub:me/pets") / "data").iterdir())) == 2


def test_without_the_library(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDataError, match="requires huggingface_hub: pip install"):
        folder_of("hf-hub:me/pets")


def test_the_command_trains_or_says_in_a_line_that_there_is_no_network(
    hub: Hub, here: Here, tmp_path: Path
) -> None:
    words = ("fit", "classifier/digits", "data=HuggingFace", "data.root=hf-hub:me/pets",
             "track.wandb=off")  # fmt: skip
    hub.refuses = lambda: httpx.ConnectError("refused")
    _, err = here(*words, code=1)
    assert len(err.strip().splitlines()) == 1
    assert "data.root=FOLDER reads a copy" in err
    assert not here.runs()
    hub.refuses = None
    small = ("data.image_size=16", "data.batch_size=4", "data.val_size=3")
    here(*words, *small, "trainer.max_steps=2")
    (run,) = here.runs()
    here("test", str(run))
    for kept in (tmp_path / "cache" / "genlab" / "hub").iterdir():
        kept.unlink()
    _, err = here("test", str(run), code=2)  # a file alone makes nobody download
    assert "hf-hub:me/pets is not on this machine: set data.download=true" in err
    here("test", str(run), "data.download=true")
