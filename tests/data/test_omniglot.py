"""Omniglot: ink is bright, alphabets do not meet, and the official test is read as it is given."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.data import BrokenDataError, MissingDataError, Omniglot, OmniglotOneShot, episodes
from genlab.data import omniglot as module
from genlab.data.files import drawings
from tests.fake_data import write_omniglot


@pytest.fixture(scope="module")
def made_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_omniglot(root / "omniglot-py")
    return root


@pytest.fixture
def real_root(data_root: Path) -> Path:
    if not (data_root / "omniglot-py").is_dir():
        pytest.skip("GENLAB_DATA has no omniglot-py")
    return data_root


def write(file: Path, ink: np.ndarray) -> Path:
    Image.fromarray(np.where(ink, 0, 255).astype(np.uint8)).convert("1").save(file)
    return file


def test_ink_is_bright_on_black_and_centred(tmp_path: Path) -> None:
    ink = np.zeros((105, 105), dtype=bool)
    ink[10:15, 80:101] = True  # its middle is (12, 90)
    file = write(tmp_path / "a.png", ink)
    plain = drawings.read([file], 105, centred=False)[0, 0]
    assert torch.equal(plain, 255 * torch.from_numpy(ink).to(torch.uint8))
    moved = drawings.read([file], 105, centred=True)[0, 0]
    expected = torch.zeros(105, 105, dtype=torch.uint8)
    expected[50:55, 42:63] = 255
    assert torch.equal(moved, expected)


def test_no_ink_leaves_the_image_and_an_empty_one_stays() -> None:
    ink = np.zeros((9, 9), dtype=bool)
    ink[0:4, 0] = ink[8, 8] = True  # centre of mass at (2.8, 1.6), but the corner is used
    assert np.array_equal(drawings.centre(ink), ink)
    assert not drawings.centre(np.zeros((9, 9), dtype=bool)).any()


def test_smaller_drawings_keep_their_share_of_ink(tmp_path: Path) -> None:
    ink = np.zeros((105, 105), dtype=bool)
    ink[30:75, 30:75] = True
    small = drawings.read([write(tmp_path / "a.png", ink)], 28, centred=True)
    assert small.shape == (1, 1, 28, 28)
    assert small.float().mean().item() / 255 == pytest.approx(ink.mean(), abs=0.01)


def test_alphabets_are_held_out_whole_and_one_in_both_sets_counts_once(made_root: Path) -> None:
    data = Omniglot(root=str(made_root), val_alphabets=["B"], batch_size=8)
    data.prepare_data()
    parts = data.splits()
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 80, "val": 40, "test": 0}
    assert set(parts["val"]) == set(range(40, 80))  # B is the second of A, B, C
    labels = {
        part: {int(x) for batch in data.bank_dataloader(part) for x in batch["label"]}
        for part in ("train", "val")
    }
    assert labels["val"] == set(range(20, 40))
    assert labels["train"] == {*range(20), *range(40, 60)}


def test_the_draw_of_alphabets_is_the_split_seeds(made_root: Path) -> None:
    def held(seed: int) -> tuple[int, ...]:
        data = Omniglot(root=str(made_root), val_alphabets=1, split_seed=seed, seed=seed % 2)
        return tuple(data.splits()["val"])

    assert held(3) == held(3)
    assert len({held(seed) for seed in range(8)}) == 3


def test_made_up_trials_have_one_alphabet_and_two_drawers(made_root: Path) -> None:
    data = Omniglot(root=str(made_root), val_alphabets=["A", "C"], ways=7)
    trials = data.episodes("val")
    assert trials is not None
    assert data.episodes("test") is None
    assert trials.support.shape == (40, 7)
    assert torch.equal(trials.answer, torch.arange(7).expand(40, 7))
    character, drawer = trials.support // 2, trials.support % 2
    assert torch.equal(trials.query // 2, character)
    assert torch.equal(trials.query % 2, 1 - drawer)
    assert bool((drawer == drawer[:, :1]).all())
    alphabet = character // 20
    assert bool((alphabet == alphabet[:, :1]).all())
    assert set(alphabet.flatten().tolist()) == {0, 2}
    again = Omniglot(root=str(made_root), val_alphabets=["A", "C"], ways=7).episodes("val")
    assert again is not None
    assert torch.equal(trials.support, again.support)
    other = episodes.made([np.arange(40).reshape(20, 2)], 7, 20, seed=1)
    assert not torch.equal(trials.support[:20], other.support)


def test_without_held_out_alphabets_all_are_trained_on(made_root: Path) -> None:
    data = Omniglot(root=str(made_root), val_alphabets=0)
    assert len(data.splits()["train"]) == 120
    assert data.val_dataloader() == []
    assert data.episodes("val") is None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"background": "smal1"}, "background.*small1"),
        ({"val_alphabets": ["D"]}, "val_alphabets.*'D'|D"),
        ({"val_alphabets": 3}, "none of the 3"),
        ({"val_alphabets": 4}, "exceeds the 3 alphabets of 20"),
        ({"val_alphabets": -1}, "must be 0 or more"),
        ({"ways": 1}, "at least 2"),
        ({"image_size": 0}, "image_size 0"),
        ({"resize": 20}, "set that"),
    ],
)
def test_wrong_settings_are_refused(made_root: Path, options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Omniglot(root=str(made_root), **options).setup()


def test_runs_of_the_official_test_are_paired_by_their_table(made_root: Path) -> None:
    data = OmniglotOneShot(root=str(made_root), image_size=32, centred=False)
    data.prepare_data()
    trials = data.episodes("test")
    assert trials is not None
    assert data.episodes("val") is None
    assert (trials.learn_from, trials.classify) == ("train", "test")
    assert {name: len(rows) for name, rows in data.splits().items()} == {
        "train": 40, "val": 0, "test": 40,
    }  # fmt: skip
    expected = [[(7 * k + run) % 20 for k in range(20)] for run in (1, 2)]
    assert trials.answer.tolist() == expected
    train, test = (
        torch.cat([batch["image"] for batch in data.bank_dataloader(part)])
        for part in ("train", "test")
    )
    label = torch.cat([batch["label"] for batch in data.bank_dataloader("test")])
    assert torch.equal(train[label].roll(1, 2), test)  # the second drawer's is one pixel lower
    assert torch.equal(label.view(2, 20), trials.answer)  # both runs have the same characters


def test_a_broken_table_or_drawing_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "omniglot-py"
    write_omniglot(folder, runs=1)
    table = folder / "one_shot" / "run01" / "class_labels.txt"
    whole = table.read_text()
    table.write_text(whole.partition("\n")[2])
    with pytest.raises(BrokenDataError, match=r"class_labels\.txt names 19 characters, not 20"):
        OmniglotOneShot(root=str(tmp_path)).setup()
    table.write_text("one\n")
    with pytest.raises(BrokenDataError, match=r"class_labels\.txt cannot be read"):
        OmniglotOneShot(root=str(tmp_path)).setup()
    table.write_text(whole)
    (folder / "one_shot" / "run01" / "test" / "item03.png").write_bytes(b"no image")
    with pytest.raises(BrokenDataError, match=r"item03\.png cannot be read"):
        OmniglotOneShot(root=str(tmp_path)).setup()


def test_missing_data_say_where_they_were_looked_for(tmp_path: Path) -> None:
    data = Omniglot(root=str(tmp_path), download=False)
    with pytest.raises(MissingDataError, match=r"looked for .*images_background_small1"):
        data.prepare_data()
    with pytest.raises(MissingDataError, match=r"one-shot-classification/all_runs\.zip"):
        OmniglotOneShot(root=str(tmp_path)).setup()


@pytest.mark.parametrize("kind", [Omniglot, OmniglotOneShot])
def test_a_download_lies_where_it_is_read(
    kind: type[Any], made_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from the authors' archives: the runs' has no folder around them, the others' have."""
    asked = list[str]()

    def unpack(url: str, root: str, filename: str, md5: str | None, remove_finished: bool) -> None:
        asked.append(url)
        archive = tmp_path / filename
        source = made_root / "omniglot-py"
        runs = "all_runs" in filename
        place = source / "one_shot" if runs else source / filename.removesuffix(".zip")
        with zipfile.ZipFile(archive, "w") as packed:
            for file in place.rglob("*.*"):
                packed.write(file, file.relative_to(place if runs else source))
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(root)

    monkeypatch.setattr(module, "download_and_extract_archive", unpack)
    data = kind(root=str(tmp_path / "new"))
    data.prepare_data()
    there = kind(root=str(made_root))
    assert {k: len(v) for k, v in data.splits().items()} == {
        k: len(v) for k, v in there.splits().items()
    }
    names = {url.rpartition("/python/")[2] for url in asked}
    assert names == (
        {"one-shot-classification/all_runs.zip"}
        if kind is OmniglotOneShot
        else {"images_background_small1.zip", "images_background_small2.zip"}
    )


def test_the_real_sets(real_root: Path) -> None:
    for background, drawn, characters in (("small1", 2720, 136), ("small2", 3120, 156)):
        options: dict[str, Any] = {"root": str(real_root), "background": background}
        data = Omniglot(**options, val_alphabets=0)
        assert len(data.splits()["train"]) == drawn
        assert data.num_classes == len(data.class_counts) == characters
        assert set(data.class_counts) == {20}
    both = Omniglot(root=str(real_root), val_alphabets=["Korean", "Sanskrit"])
    sizes = {name: len(rows) for name, rows in both.splits().items()}
    assert sizes == {"train": 4840 - 20 * 82, "val": 20 * 82, "test": 0}
    assert both.num_classes == 242


def test_no_drawing_of_the_official_test_is_a_background_drawing(real_root: Path) -> None:
    def bytes_of(data: Any, parts: tuple[str, ...]) -> set[bytes]:
        loaders = [data.bank_dataloader(part) for part in parts]
        return {x.numpy().tobytes() for one in loaders for b in one for x in b["image"]}

    background = bytes_of(Omniglot(root=str(real_root), image_size=105), ("train", "val"))
    asked = bytes_of(OmniglotOneShot(root=str(real_root), image_size=105), ("train", "test"))
    assert len(asked) == 800
    assert not background & asked


def test_the_real_test_has_20_runs(real_root: Path) -> None:
    data = OmniglotOneShot(root=str(real_root))
    trials = data.episodes("test")
    assert trials is not None
    assert trials.answer.shape == (20, 20)
    assert trials.answer[0, :6].tolist() == [7, 8, 1, 18, 9, 17]  # the first table's first lines
    assert trials.answer.sort(1).values.tolist() == [list(range(20))] * 20


def test_two_runs_have_the_same_characters_in_the_same_order(real_root: Path) -> None:
    """Pixels find the other run's character far above chance, 1 in 20; other alphabets' do not."""
    data = OmniglotOneShot(root=str(real_root))
    batches = [data.to_device(batch) for batch in data.bank_dataloader("train")]
    pixels = torch.cat([batch["image"] for batch in batches]).flatten(1)
    runs = torch.nn.functional.normalize(pixels, dim=1).view(20, 20, -1)
    label = torch.cat([batch["label"] for batch in batches]).view(20, 20)

    def found(one: int, other: int) -> float:
        return float(((runs[one] @ runs[other].T).argmax(1) == torch.arange(20)).float().mean())

    same = [found(k, k + 1) for k in range(0, 20, 2)]
    others = [found(k, (k + 2) % 20) for k in range(0, 20, 2)]
    assert min(same) > 0.15
    assert sum(same) / 10 > 0.3 > 0.15 > sum(others) / 10
    assert torch.equal(label[::2], label[1::2])
    assert data.num_classes == len(label.unique()) == 200
