"""ImageNet and TinyImageNet by name, as they are given out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from genlab.data.encoded_images import EncodedImages
from genlab.data.files import imagenet
from genlab.data.files.folder_scan import Listing


class ImageNet(EncodedImages):
    """ImageNet-1k, or a part of its classes such as ImageNet-100.

    The validation images are the ``test`` part, as in papers: nobody has labels of the test
    images. ``val`` is split off from the training images. Layouts: ``train/CLASS/*`` with
    ``val/CLASS/*``, or with ``val/*`` and a table of their classes, see `files.imagenet.imagenet`.
    Classes are WordNet ids. ``index`` is the position in the sorted list of files.

    Args:
        root: the folder.
        image_size: side in pixels, see `EncodedImages`.
        crop_ratio: share of the shorter side that evaluation keeps.
        rescan: True to walk the folder anew, see `ImageFolder`.
        **kwargs: arguments of `EncodedImages`; ``test_size`` is not used.

    Raises:
        ValueError: a value out of range, or two that cannot be combined.
    """

    layout = staticmethod(imagenet.imagenet)

    def __init__(
        self,
        root: str,
        image_size: int = 224,
        crop_ratio: float = 0.875,
        rescan: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, image_size, crop_ratio=crop_ratio, **kwargs)
        self.rescan = rescan

    def listing(self) -> tuple[list[str], dict[str, Listing]]:
        """Classes and images of the folder."""
        return self.layout(Path(os.path.abspath(self.root)), self.rescan)


class TinyImageNet(ImageNet):
    """TinyImageNet: 200 classes of 500 training images, 64 x 64 pixels.

    Its 10,000 validation images are the ``test`` part; its test images have no labels and are not
    used. Layout: ``train/CLASS/images/*``, ``val/images/*`` and ``val/val_annotations.txt``.

    Args:
        root: the folder, ``tiny-imagenet-200``.
        image_size: side in pixels, see `EncodedImages`.
        crop_ratio: share of the shorter side that evaluation keeps.
        **kwargs: arguments of `ImageNet`.
    """

    layout = staticmethod(imagenet.tiny_imagenet)

    def __init__(
        self, root: str, image_size: int = 64, crop_ratio: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(root, image_size, crop_ratio, **kwargs)
