"""Data sets that torchvision fetches and reads, as uint8 tensors in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torchvision import datasets

from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.files import cifar
from genlab.data.files.download import fetch, location
from genlab.data.images import Images
from genlab.data.in_memory import Pictures
from genlab.data.loader import Source
from genlab.internals import messages

DAMAGE = (RuntimeError, ValueError, TypeError, AssertionError, EOFError, OSError, LookupError)
CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""  # as in the data's meta file


class TorchvisionImages(Images):
    """A torchvision data set with parts called train and test.

    Class attributes: ``stock``, torchvision's class; ``folder``, its folder below ``root``.

    Args:
        root: folder of the data; None for the environment's GENLAB_DATA, else ``data``.
        download: True to fetch missing data.
        **kwargs: arguments of `Images`.
    """

    stock: type[Any]
    folder: str

    def __init__(self, root: str | None = None, download: bool = True, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        if type(self) is TorchvisionImages:
            raise ValueError("TorchvisionImages has no images: name a data set, such as MNIST")
        self.download = download
        self._read: dict[str, Pictures] = {}  # what prepare_data read, for setup

    def prepare_data(self) -> None:
        """Fetch missing data, in one process per machine.

        Raises:
            MissingDataError: data is missing, and cannot or may not be fetched.
        """
        if self._parts:
            return  # already set up: do not read and keep everything twice
        for part in self.parts():
            try:
                self._read[part] = self.read(part)
            except MissingDataError:
                if not self.download:
                    raise
                fetch(self.root, self.place(), self._download)
                return

    def sources(self) -> dict[str, Source]:
        """Training and test images."""
        shape = (self.channels, type(self).image_size, type(self).image_size)
        found = {part: self._read.get(part) or self.read(part) for part in self.parts()}
        self._read.clear()
        for part, pictures in found.items():
            pictures.check(f"{type(self).__name__} {part}", shape, type(self).num_classes)
        return dict(found)

    def parts(self) -> tuple[str, ...]:
        """The parts that are read."""
        return ("train", "test")

    def open(self, root: Path, part: str, download: bool) -> Any:
        """Torchvision's data set for one part."""
        return self.stock(str(root), train=part == "train", download=download)

    def read(self, part: str) -> Pictures:
        """One part from the disk.

        Raises:
            MissingDataError: the part is missing.
            BrokenDataError: it is truncated or damaged.
        """
        try:
            return self.pictures(self.open(self.root, part, False))
        except DAMAGE as error:
            if messages.says_not_found(error):
                raise self.missing() from None
            raise BrokenDataError(
                f"{self.place()} cannot be read ({str(error) or type(error).__name__}); "
                "delete it to have it fetched again"
            ) from None

    def pictures(self, data: Any) -> Pictures:
        """The tensors inside torchvision's object."""
        images = torch.as_tensor(data.data)
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
        return Pictures(images, torch.as_tensor(data.targets))

    def _download(self, folder: Path) -> None:
        for part in self.parts():
            self.open(folder, part, True)

    def place(self) -> Path:
        """Path of the data."""
        return location(self.root, self.folder)

    def missing(self) -> MissingDataError:
        """The error for data that is not on disk."""
        return MissingDataError(
            f"{type(self).__name__} not found: looked for {self.place()}, whole and undamaged\n"
            f"put torchvision's {self.stock.__name__} files there (fetched by itself with "
            "data.download=true and a network),\n"
            "or name the folder that holds them with data.root=DIR or GENLAB_DATA=DIR"
        )


class MNIST(TorchvisionImages):
    """60,000 + 10,000 handwritten digits, 28 x 28 grey (LeCun, Cortes, Burges 1998)."""

    channels, num_classes, image_size = 1, 10, 28
    stock, folder = datasets.MNIST, "MNIST/raw"
    classes = tuple("0123456789")


class FashionMNIST(TorchvisionImages):
    """60,000 + 10,000 pieces of clothing, 28 x 28 grey (Xiao, Rasul, Vollgraf 2017)."""

    channels, num_classes, image_size = 1, 10, 28
    stock, folder = datasets.FashionMNIST, "FashionMNIST/raw"
    classes = tuple(datasets.FashionMNIST.classes)


class CIFAR10(TorchvisionImages):
    """50,000 + 10,000 photographs of 10 things, 32 x 32 colour (Krizhevsky 2009).

    Batch files with other checksums are read too, with a warning that states the number of their
    images, and by a restricted unpickler (see `files.cifar`).
    """

    channels, num_classes, image_size = 3, 10, 32
    stock, folder = datasets.CIFAR10, "cifar-10-batches-py"
    classes: Sequence[str] = "airplane automobile bird cat deer dog frog horse ship truck".split()  # noqa: SIM905
    label_key = "labels"
    _copies = False

    def sources(self) -> dict[str, Source]:
        """Training and test images, with a warning when they are not the original ones."""
        found = super().sources()
        if self._copies:
            counts = ", ".join(f"{len(source):,} {part}" for part, source in found.items())
            rank_zero_warn(
                f"{self.place()}: checksums are not the original's; using its {counts} images"
            )
        return found

    def read(self, part: str) -> Pictures:
        """One part: torchvision's reader where the checksums agree, else our own."""
        try:
            return super().read(part)
        except MissingDataError:
            listed = self.stock.train_list if part == "train" else self.stock.test_list
            files = [self.place() / name for name, _ in listed]
            if not all(file.is_file() for file in files):
                raise
            self._copies = True
            images, labels = cifar.read(files, self.label_key)
            return Pictures(torch.from_numpy(images), torch.from_numpy(labels))


class CIFAR100(CIFAR10):
    """50,000 + 10,000 photographs of 100 things, 32 x 32 colour (Krizhevsky 2009)."""

    channels, num_classes, image_size = 3, 100, 32
    stock, folder = datasets.CIFAR100, "cifar-100-python"
    classes = tuple(CIFAR100_CLASSES.split())
    label_key = "fine_labels"


class SVHN(TorchvisionImages):
    """73,257 + 26,032 house-number digits, 32 x 32 colour (Netzer et al. 2011)."""

    channels, num_classes, image_size = 3, 10, 32
    stock, folder = datasets.SVHN, "train_32x32.mat"
    classes: Sequence[str] = tuple("0123456789")

    def open(self, root: Path, part: str, download: bool) -> Any:
        """Torchvision's data set for one part."""
        return self.stock(str(root), split=part, download=download)

    def pictures(self, data: Any) -> Pictures:
        """The tensors inside torchvision's object, which are channels first here."""
        return Pictures(torch.from_numpy(data.data), torch.from_numpy(np.asarray(data.labels)))


class STL10(SVHN):
    """5,000 + 8,000 labelled photographs of 10 things, 96 x 96 colour (Coates, Lee, Ng 2011).

    Args:
        unlabeled: True to add the 100,000 unlabelled images (label -1, 2.8 GB); ``index`` counts
            the 5,000 first.
        **kwargs: arguments of `Images`.
    """

    channels, num_classes, image_size = 3, 10, 96
    stock, folder = datasets.STL10, "stl10_binary"
    classes = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")

    def __init__(self, unlabeled: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unlabeled = unlabeled

    def open(self, root: Path, part: str, download: bool) -> Any:
        """Torchvision's data set for one part."""
        split = "train+unlabeled" if part == "train" and self.unlabeled else part
        return self.stock(str(root), split=split, download=download)
