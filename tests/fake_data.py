"""Data sets on disk in torchvision's layout, made of scikit-learn's digits: small, and real."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

TRAIN, TEST = 400, 60


def digits(side: int) -> tuple[np.ndarray, np.ndarray]:
    """The first TRAIN + TEST digits enlarged to ``side`` pixels: (N, side, side) bytes, (N,)."""
    data = load_digits()
    images = (data.images[: TRAIN + TEST] * (255 / 16)).round().astype(np.uint8)
    factor = side // 8
    large = images.repeat(factor, 1).repeat(factor, 2)
    margin = side - 8 * factor
    pad = (margin // 2, margin - margin // 2)
    return np.pad(large, ((0, 0), pad, pad)), data.target[: TRAIN + TEST].astype(np.uint8)


def write_idx(folder: Path) -> None:
    """The four files of MNIST or Fashion-MNIST."""
    folder.mkdir(parents=True)
    images, labels = digits(28)
    for name, part in (("train", slice(0, TRAIN)), ("t10k", slice(TRAIN, None))):
        x, y = images[part], labels[part]
        head = struct.pack(">IIII", 2051, len(x), 28, 28)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(head + x.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 2049, len(y)) + y.tobytes()
        )


def write_cifar10(folder: Path) -> None:
    """The batches of CIFAR-10, coloured by class."""
    folder.mkdir(parents=True)
    grey, labels = digits(32)
    tint = np.stack([labels * 25, 255 - labels * 25, np.full_like(labels, 128)], 1) / 255
    images = (grey[:, None] * tint[:, :, None, None]).astype(np.uint8).reshape(len(grey), -1)
    rows = np.array_split(np.arange(TRAIN), 5)
    parts = {f"data_batch_{i + 1}": part for i, part in enumerate(rows)}
    parts["test_batch"] = np.arange(TRAIN, TRAIN + TEST)
    for name, part in parts.items():
        batch = {"data": images[part], "labels": labels[part].tolist(), "batch_label": name}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    names = [str(i) for i in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}, protocol=2))


def write_cifar100(folder: Path) -> None:
    """The two files of CIFAR-100, four pictures of each class."""
    folder.mkdir(parents=True)
    images = np.repeat(digits(32)[0].reshape(TRAIN + TEST, 1, -1), 3, 1).reshape(TRAIN + TEST, -1)
    labels = np.arange(TRAIN + TEST) % 100
    for name, rows in (("train", slice(0, TRAIN)), ("test", slice(TRAIN, None))):
        part = {"data": images[rows], "fine_labels": labels[rows].tolist()}
        (folder / name).write_bytes(pickle.dumps(part, protocol=2))
    names = {"fine_label_names": [str(i) for i in range(100)]}
    (folder / "meta").write_bytes(pickle.dumps(names, protocol=2))


def write_stl10(folder: Path) -> None:
    """The binary files of STL-10, 100 of the images without a label."""
    folder.mkdir(parents=True)
    grey, labels = digits(96)
    images = np.repeat(grey[:, None].transpose(0, 1, 3, 2), 3, 1)  # columns first
    parts = {"train": slice(0, 300), "unlabeled": slice(300, 400), "test": slice(400, None)}
    for name, rows in parts.items():
        (folder / f"{name}_X.bin").write_bytes(images[rows].tobytes())
        (folder / f"{name}_y.bin").write_bytes((labels[rows] + 1).tobytes())


def write_svhn(folder: Path) -> None:
    """The two files of SVHN, whose zeros are labelled 10."""
    from scipy.io import savemat

    grey, labels = digits(32)
    images = np.repeat(grey[:, None], 3, 1).transpose(2, 3, 1, 0)
    ten = np.where(labels == 0, 10, labels)[:, None]
    for name, rows in {"train": slice(0, TRAIN), "test": slice(TRAIN, None)}.items():
        savemat(folder / f"{name}_32x32.mat", {"X": images[..., rows], "y": ten[rows]})


def write_pictures(folder: Path) -> None:
    """A folder of 60 coloured pictures in three classes, as ImageFolder reads them."""
    grey, labels = digits(72)
    for k in range(60):
        name = folder / "abc"[labels[k] % 3] / f"{k:02d}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        colour = np.stack([grey[k], grey[k] // 2, 255 - grey[k]], 2)
        Image.fromarray(colour).save(name)


def write_omniglot(folder: Path, characters: int = 20, drawers: int = 2, runs: int = 2) -> None:
    """Three background alphabets of both small sets, one in both, and runs of the one-shot test.

    A character is a digit's image, black on white; the second drawer's is one pixel lower.
    """
    grey = 255 - digits(32)[0]
    alphabets = {"images_background_small1": "AB", "images_background_small2": "BC"}
    for background, names in alphabets.items():
        for name in names:
            for k in range(characters):
                place = folder / background / name / f"character{k + 1:02}"
                for drawer in range(drawers):
                    number = 20 * (ord(name) - 65) + k
                    _draw(place / f"{k}_{drawer + 1}.png", grey[number], drawer)
    for run in range(1, runs + 1):
        place = folder / "one_shot" / f"run{run:02}"
        lines = []
        for k in range(20):
            other = (7 * k + run) % 20  # the drawing to classify shows another place's character
            first = 60 + 20 * ((run - 1) // 2)  # two runs have the same characters
            _draw(place / "training" / f"class{k + 1:02}.png", grey[first + k], 0)
            _draw(place / "test" / f"item{k + 1:02}.png", grey[first + other], 1)
            pair = f"test/item{k + 1:02}.png", f"training/class{other + 1:02}.png"
            lines.append(" ".join(f"{place.name}/{one}" for one in pair))
        (place / "class_labels.txt").write_text("\n".join(lines) + "\n")


def _draw(file: Path, grey: np.ndarray, lower: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    moved = np.roll(grey, lower, 0)
    Image.fromarray(np.where(moved < 128, 0, 255).astype(np.uint8)).convert("1").save(file)


def write_bsds300(folder: Path) -> None:
    """300 small photographs of a digit each."""
    grey, _ = digits(16)
    for part, rows in {"train": range(200), "test": range(200, 300)}.items():
        (folder / part).mkdir(parents=True)
        for k in rows:
            Image.fromarray(grey[k]).save(folder / part / f"{k:03}.jpg", quality=95)


def write_density(folder: Path) -> None:
    """The set dna in its three parts, of digits' pixels."""
    bits = (digits(16)[0].reshape(TRAIN + TEST, -1)[:, :180] > 127).astype(int)
    folder.mkdir(parents=True)
    for part, count in (("train", 1600), ("valid", 400), ("test", 1186)):
        rows = (",".join(map(str, bits[k % len(bits)])) for k in range(count))
        (folder / f"dna.{part}.data").write_text("\n".join(rows) + "\n")


def write_frey_faces(folder: Path) -> None:
    """A film of 1,965 frames, digits in a frame of 28 x 20 pixels."""
    frames = digits(28)[0][np.arange(1965) % (TRAIN + TEST), :, 4:24]
    folder.mkdir(parents=True)
    np.savez(folder / "frey_faces.npz", images=frames)


def write_all(root: Path) -> Path:
    """Every data set that a shipped recipe names and that can be small."""
    write_idx(root / "MNIST" / "raw")
    write_idx(root / "FashionMNIST" / "raw")
    write_cifar10(root / "cifar-10-batches-py")
    write_cifar100(root / "cifar-100-python")
    write_stl10(root / "stl10_binary")
    write_svhn(root)
    write_bsds300(root / "BSDS300" / "images")
    write_pictures(root / "pictures")
    write_omniglot(root / "omniglot-py")
    write_density(root / "density" / "dna")
    write_frey_faces(root / "frey_faces")
    return root
