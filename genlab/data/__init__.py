"""LightningDataModules: which images, which split; and the loaders that read them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genlab.data.digits import Digits
    from genlab.data.errors import BrokenDataError, MissingDataError
    from genlab.data.image_folder import ImageFolder
    from genlab.data.images import Images
    from genlab.data.torchvision_sets import CIFAR10, CIFAR100, MNIST, STL10, SVHN, FashionMNIST
    from genlab.data.toys import Toys

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "STL10",
    "SVHN",
    "BrokenDataError",
    "Digits",
    "FashionMNIST",
    "ImageFolder",
    "Images",
    "MissingDataError",
    "Toys",
]

_FILES = {
    "Digits": "digits",
    "BrokenDataError": "errors",
    "MissingDataError": "errors",
    "ImageFolder": "image_folder",
    "Images": "images",
    "Toys": "toys",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(
        importlib.import_module(f"{__name__}.{_FILES.get(name, 'torchvision_sets')}"), name
    )
