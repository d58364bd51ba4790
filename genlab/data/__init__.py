"""Data modules, one class a file, and the loaders that read them.

A batch becomes views on the device, in `on_device` (and `images`, which calls it); `augment.views`
draws them. To a GPU it goes by `pinned`. `images` is the common base of `digits`,
`torchvision_sets` (`remapped` in their grey levels), `omniglot` (its trials by `episodes`),
`omniglot_one_shot`, `toys`, `factor_shapes`, `arrays`; of vectors, which are images of one pixel
(`vectors`, `bsds300`, `binary_density`, `frey_faces`); of `encoded_images`, the base of
`image_folder`, `imagenet_sets`, `image_table`, `hugging_face` and `web_dataset`. `loader` batches
indices, `sampling` orders them, `splits` divides them, `in_memory` stores images, `finding` gives
them by their positions, `naming` numbers classes by their names. `exact_resume` corrects
Lightning's counters, `errors` are the data's. Folders: `files` (images in files), `shards` (tar
files), `labels` (few labels).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genlab import faces

if TYPE_CHECKING:  # for type checkers; the files are the list
    from genlab.data.arrays import Arrays as Arrays
    from genlab.data.binary_density import BinaryDensity as BinaryDensity
    from genlab.data.bsds300 import BSDS300 as BSDS300
    from genlab.data.digits import Digits as Digits
    from genlab.data.encoded_images import EncodedImages as EncodedImages
    from genlab.data.errors import BrokenDataError as BrokenDataError
    from genlab.data.errors import MissingDataError as MissingDataError
    from genlab.data.factor_shapes import FactorShapes as FactorShapes
    from genlab.data.frey_faces import FreyFaces as FreyFaces
    from genlab.data.hugging_face import HuggingFace as HuggingFace
    from genlab.data.image_folder import ImageFolder as ImageFolder
    from genlab.data.image_table import ImageTable as ImageTable
    from genlab.data.imagenet_sets import ImageNet as ImageNet
    from genlab.data.imagenet_sets import TinyImageNet as TinyImageNet
    from genlab.data.images import Images as Images
    from genlab.data.omniglot import Drawings as Drawings
    from genlab.data.omniglot import Omniglot as Omniglot
    from genlab.data.omniglot_one_shot import OmniglotOneShot as OmniglotOneShot
    from genlab.data.remapped import RemappedDigits as RemappedDigits
    from genlab.data.remapped import RemappedMNIST as RemappedMNIST
    from genlab.data.torchvision_sets import CIFAR10 as CIFAR10
    from genlab.data.torchvision_sets import CIFAR100 as CIFAR100
    from genlab.data.torchvision_sets import MNIST as MNIST
    from genlab.data.torchvision_sets import STL10 as STL10
    from genlab.data.torchvision_sets import SVHN as SVHN
    from genlab.data.torchvision_sets import FashionMNIST as FashionMNIST
    from genlab.data.torchvision_sets import TorchvisionImages as TorchvisionImages
    from genlab.data.toys import Toys as Toys
    from genlab.data.vectors import Vectors as Vectors
    from genlab.data.web_dataset import WebDataset as WebDataset


def __getattr__(name: str) -> Any:
    return faces.member(__name__, name)


def __dir__() -> list[str]:
    return faces.names(__name__)
