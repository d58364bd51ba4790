"""Binary sets: the sizes of the tables, 0 and 1; their baseline is in `test_chow_liu`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from genlab.data import BinaryDensity, BrokenDataError, MissingDataError
from genlab.data.binary_density import SETS
from tests.data.test_vectors import rows


@pytest.fixture
def density() -> Path:
    root = Path(os.environ.get("GENLAB_DATA", "nowhere"))
    if not (root / "density").is_dir():
        pytest.skip("GENLAB_DATA has no density")
    return root


def made(root: Path, train: str) -> BinaryDensity:
    folder = root / "density" / "nltcs"
    folder.mkdir(parents=True)
    for part, count in (("valid", 2157), ("test", 3236)):
        (folder / f"nltcs.{part}.data").write_text((",".join("01" * 8) + "\n") * count)
    (folder / "nltcs.train.data").write_text(train)
    return BinaryDensity("nltcs", root=str(root))


def test_a_line_is_a_vector(tmp_path: Path) -> None:
    lines = [",".join("1" if bit == row % 16 else "0" for bit in range(16)) for row in range(16181)]
    data = made(tmp_path, "\n".join(lines) + "\n")
    found = rows(data, "train")[:, :, 0, 0]
    assert torch.equal(found, torch.eye(16).repeat(1012, 1)[:16181])
    assert torch.equal(rows(data, "val")[0, :, 0, 0], torch.tensor([0.0, 1.0] * 8))


LINE = ",".join("01" * 8) + "\n"
WRONG = {
    "empty": "",
    "ragged": LINE * 3 + "0,1\n",
    "not binary": LINE.replace("1", "2") * 16181,
    "other marks": LINE.replace(",", ";") * 16181,
    "ends in a comma": LINE.replace("\n", ",\n") * 16181,
}


@pytest.mark.parametrize("name", WRONG)
def test_other_content_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BrokenDataError, match=r"nltcs\.train\.data: lines are not equally many"):
        made(tmp_path, WRONG[name]).setup()


def test_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenDataError, match="16180 vectors of 16 numbers; nltcs has 16181 of 16"):
        made(tmp_path, LINE * 16180).setup()


def test_unknown_and_missing_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown kind 'kdd'; choose from accidents"):
        BinaryDensity("kdd")
    with pytest.raises(MissingDataError, match=r"no file .*dna\.train\.data"):
        BinaryDensity("dna", root=str(tmp_path)).setup()


@pytest.mark.parametrize("kind", SETS)
def test_the_sets_have_their_sizes(density: Path, kind: str) -> None:
    data = BinaryDensity(kind, root=str(density))
    sizes = {part: len(found) for part, found in data.splits().items()}
    assert sizes == {part: getattr(SETS[kind], part) for part in ("train", "val", "test")}
    assert set(rows(data, "test").unique().tolist()) == {0.0, 1.0}
