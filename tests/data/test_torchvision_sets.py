"""Real data where it is, clear words where it is not, and no code run from foreign pickles."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import datasets

from genlab import data as sets
from genlab.data import CIFAR10, CIFAR100, MNIST, STL10, BrokenDataError, Images, MissingDataError
from genlab.data.files.download import fetch
from tests.fake_data import digits, write_stl10


def cifar_folder(root: Path, name: str = "cifar-10-batches-py", n: int = 20) -> Path:
    """Files in CIFAR's form with other checksums."""
    folder = root / name
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    ten = name == "cifar-10-batches-py"
    files = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"] if ten else ["train", "test"]
    for file in files:
        pixels = generator.integers(0, 256, (n, 3072), dtype=np.uint8)
        key = "labels" if ten else "fine_labels"
        batch = {"data": pixels, key: [k % 10 for k in range(n)]}
        (folder / file).write_bytes(pickle.dumps(batch, protocol=2))
    return folder


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_real_grey_sets(data_root: Path, name: str) -> None:
    data: Images = getattr(sets, name)(root=str(data_root), val_size=5000, batch_size=100)
    data.prepare_data()
    data.setup()
    assert {k: len(v) for k, v in data.splits().items()} == {
        "train": 55_000, "val": 5000, "test": 10_000,
    }  # fmt: skip
    batch = data.to_device(next(iter(data.train_dataloader())))
    assert batch["image"].shape == (100, 1, 28, 28)
    mean = torch.cat([data.to_device(b)["image"] for b in data.test_dataloader()]).mean()
    assert mean.item() == pytest.approx({"MNIST": 0.1325, "FashionMNIST": 0.2868}[name], abs=1e-3)


def test_real_cifar10_whether_original_or_not(data_root: Path) -> None:
    if not (data_root / "cifar-10-batches-py").is_dir():
        pytest.skip("GENLAB_DATA has no cifar-10-batches-py")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        data = CIFAR10(root=str(data_root))
        data.prepare_data()
        data.setup()
    told = [str(w.message) for w in said if "checksums" in str(w.message)]
    test = len(data.splits()["test"])
    assert (test == 10_000 and not told) or (len(told) == 1 and f"{test:,} test" in told[0])
    image = torch.cat([data.to_device(b)["image"] for b in data.test_dataloader()])
    assert image.mean((0, 2, 3)).tolist() == pytest.approx([0.494, 0.485, 0.450], abs=2e-3)


@pytest.mark.parametrize(
    ("kind", "folder"), [(CIFAR10, "cifar-10-batches-py"), (CIFAR100, "cifar-100-python")]
)
def test_copies_with_other_checksums_are_read(
    tmp_path: Path, kind: type[Images], folder: str
) -> None:
    cifar_folder(tmp_path, folder)
    data = kind(root=str(tmp_path), batch_size=10)
    with pytest.warns(UserWarning, match="checksums are not the original's.* 20 test images"):
        data.setup()
    expected = pickle.loads(
        (tmp_path / folder / ("test_batch" if kind is CIFAR10 else "test")).read_bytes()
    )
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].flatten(1).tolist() == expected["data"].tolist()


class Attack:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('code ran')",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    folder = cifar_folder(tmp_path)
    (folder / "test_batch").write_bytes(pickle.dumps({"data": Attack(), "labels": []}))
    with pytest.raises(BrokenDataError, match=r"test_batch cannot be read: it names .*exec"):
        CIFAR10(root=str(tmp_path)).setup()


@pytest.mark.parametrize("keep", [0, 1, 100, -10])
def test_a_truncated_batch_is_named(tmp_path: Path, keep: int) -> None:
    file = cifar_folder(tmp_path) / "data_batch_3"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(BrokenDataError, match="data_batch_3 cannot be read"):
        CIFAR10(root=str(tmp_path)).setup()


def test_labels_and_images_must_agree(tmp_path: Path) -> None:
    file = cifar_folder(tmp_path) / "data_batch_2"
    content = pickle.loads(file.read_bytes())
    file.write_bytes(pickle.dumps(content | {"labels": [0, 1]}))
    with pytest.raises(BrokenDataError, match="20 images but 2 labels"):
        CIFAR10(root=str(tmp_path)).setup()
    file.write_bytes(pickle.dumps(content | {"labels": [10] * 20}))
    with pytest.raises(BrokenDataError, match="image 20 has label 10; labels are 0 to 9"):
        CIFAR10(root=str(tmp_path)).setup()


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100", "SVHN", "STL10"])
def test_missing_data_says_what_where_and_how(tmp_path: Path, name: str) -> None:
    data = getattr(sets, name)(root=str(tmp_path / "none"), download=False)
    for step in (data.prepare_data, data.setup):
        with pytest.raises(MissingDataError) as caught:
            step()
        message = str(caught.value)
        assert message.count("\n") <= 2
        for part in (name, str(tmp_path / "none"), "data.root=", "GENLAB_DATA"):
            assert part in message
    assert not (tmp_path / "none").exists()


def test_a_truncated_idx_file_is_an_error_with_its_folder(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n in (("train", 60_000), ("t10k", 10_000)):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + bytes(50))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + n.to_bytes(4, "big"))
    with pytest.raises(BrokenDataError, match="MNIST/raw cannot be read"):
        MNIST(root=str(tmp_path)).setup()


def test_a_failed_download_leaves_nothing(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError("no route to host")

    with pytest.raises(MissingDataError, match="download failed: no route to host"):
        fetch(tmp_path / "a" / "b", tmp_path / "a" / "b" / "MNIST", broken)
    assert not list(tmp_path.iterdir())


def test_a_download_arrives_whole_beside_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "MNIST").mkdir()
    (tmp_path / "MNIST" / "other").write_text("kept")

    def whole(folder: Path) -> None:
        (folder / "MNIST").mkdir()
        (folder / "MNIST" / "file").write_text("new")

    fetch(tmp_path, tmp_path / "MNIST", whole)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["MNIST", "file", "other"]


def test_a_download_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket
    import urllib.request

    server = socket.create_server(("127.0.0.1", 0))  # accepts, says nothing
    monkeypatch.setattr("genlab.data.files.download.TIMEOUT", 0.2)
    url = f"http://127.0.0.1:{server.getsockname()[1]}/"
    with server, pytest.raises(MissingDataError, match="timed out"):
        fetch(tmp_path, tmp_path / "x", lambda _: urllib.request.urlopen(url).close())


def test_stl10_can_train_on_its_unlabelled_images_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have label -1, come after the labelled ones and are never held out."""
    write_stl10(tmp_path / "stl10_binary")
    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda self: True)
    data = STL10(unlabeled=True, root=str(tmp_path), val_size=50, batch_size=350)
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (350, 3, 96, 96)
    assert torch.equal(batch["label"] == -1, batch["index"] >= 300)
    assert int((batch["label"] == -1).sum()) == 100
    assert all((raw["label"] >= 0).all() for raw in data.bank_dataloader("val"))
    found, number = batch["image"][0, 0], int(batch["index"][0])
    assert torch.equal(found, torch.from_numpy(digits(96)[0][number]))  # rows are rows
    assert len(STL10(root=str(tmp_path), val_size=50).splits()["train"]) == 250
    with pytest.raises(ValueError, match="batch_size 0"):
        STL10(batch_size=0)


def test_importing_the_package_reads_no_data_set_module() -> None:
    import subprocess
    import sys

    code = "import sys, genlab.data; print('torch' in sys.modules, 'torchvision' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "False"]
