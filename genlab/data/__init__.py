"""LightningDataModules: which images, which split; and the loaders that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genlab import faces

if TYPE_CHECKING:  # for type checkers; the files are the list
    from genlab.data.digits import Digits as Digits
    from genlab.data.errors import BrokenDataError as BrokenDataError
    from genlab.data.errors import MissingDataError as MissingDataError
    from genlab.data.image_folder import ImageFolder as ImageFolder
    from genlab.data.images import Images as Images
    from genlab.data.torchvision_sets import CIFAR10 as CIFAR10
    from genlab.data.torchvision_sets import CIFAR100 as CIFAR100
    from genlab.data.torchvision_sets import MNIST as MNIST
    from genlab.data.torchvision_sets import STL10 as STL10
    from genlab.data.torchvision_sets import SVHN as SVHN
    from genlab.data.torchvision_sets import FashionMNIST as FashionMNIST
    from genlab.data.torchvision_sets import TorchvisionImages as TorchvisionImages
    from genlab.data.toys import Toys as Toys


def __getattr__(name: str) -> Any:
    return faces.member(__name__, name)


def __dir__() -> list[str]:
    return faces.names(__name__)
