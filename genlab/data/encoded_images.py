"""Images of any size in files: splits, classes, whole images in memory, crops from originals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn

from genlab.data import splits
from genlab.data.files import on_gpu
from genlab.data.files.cuts import Cut, RandomCrop, Shift
from genlab.data.files.decoding import Form
from genlab.data.files.folder_scan import Listing
from genlab.data.files.reader import Files, cores
from genlab.data.images import Images
from genlab.data.labels.two_streams import SemiLoader
from genlab.data.loader import Source, TrainLoader

BITS = {"uint8": 8, "uint16": 16}
MEMORY = 2 * 2**30  # bytes that images may take in memory unless the user says otherwise


class EncodedImages(Images):
    """Images of any size, decoded from files and cropped to one size.

    A subclass lists them in `listing`. ``index`` is the position of an image in the list of its
    part.

    Args:
        root: place of the images.
        image_size: side in pixels: the shorter side is scaled to it, then the centre is cropped.
            Random crops of training (``views``, and ``crop`` or ``translate`` of ``augment``) are
            cut out of the original image instead, see `files.cuts`.
        channels: 1 for grey, 3 for colour on white where files are transparent; 4 keeps the
            fourth channel, opaque (1) for files without one, and colour as it is stored under
            transparent pixels. Every channel is resized by itself, and operations on colour act
            on the first three.
        dtype: ``uint8``; or ``uint16`` to keep the 16 bits of PNG files, and of grey TIFF files,
            until they are float. 8 bits are multiplied by 257; a file of which only 8 bits can be
            read, such as a colour TIFF of 16, counts as one that cannot be read.
        crop_ratio: share of the shorter side that the centre crop keeps; papers evaluate 224
            pixels out of 256, 0.875.
        test_size: like ``val_size``, where there is no ``test`` part.
        in_memory: True to decode all images once, to ``image_size``: random crops are then cut
            out of that. False: worker processes decode every batch. None: in memory where images
            take at most 2 GiB and no random crop is wanted. The batches are the same where all
            files can be read. Others are left out of memory and of evaluation; training out of
            files replaces them by the next ones.
        workers: processes that decode; None for as many as there are processors, at most 8.
        decode: ``cpu``; ``gpu``: workers read bytes, and the GPU that trains decodes JPEGs and cuts
            random crops out of them, see `files.on_gpu`. Evaluation is as with ``cpu``.
        **kwargs: arguments of `Images`; not ``resize``, and with ``folds`` a ``val`` part is not
            used.

    Raises:
        ValueError: a value out of range, or two that cannot be combined.
    """

    def __init__(
        self,
        root: str,
        image_size: int = 64,
        channels: int = 3,
        crop_ratio: float = 1.0,
        test_size: int | float = 0.1,
        in_memory: bool | None = None,
        workers: int | None = None,
        decode: Literal["cpu", "gpu"] = "cpu",
        dtype: Literal["uint8", "uint16"] = "uint8",
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        if self.finish.resize is not None:
            raise ValueError(
                f"resize {self.finish.resize}: a folder's images have image_size; set that"
            )
        if image_size < 1:
            raise ValueError(f"image_size {image_size} must be at least 1")
        if channels not in (1, 3, 4):
            raise ValueError(f"channels {channels} must be 1, 3 or 4")
        if dtype not in BITS:
            raise ValueError(f"unknown dtype {dtype!r}; choose from {', '.join(BITS)}")
        if dtype != "uint8" and self.binarize != "none":
            raise ValueError(f"dtype {dtype!r} cannot be combined with binarize {self.binarize!r}")
        if not 0 < crop_ratio <= 1:
            raise ValueError(f"crop_ratio {crop_ratio} must be more than 0 and at most 1")
        for name, count in ("test_size", test_size), ("workers", workers):
            if count is not None and count < 0:
                raise ValueError(f"{name} {count} must be 0 or more")
        if self.binarize != "none" and in_memory is False:
            raise ValueError(f"binarize {self.binarize!r} requires in_memory: true")
        self.image_size, self.channels, self.test_size = image_size, channels, test_size
        self.crop_ratio, self.in_memory, self.bits = crop_ratio, in_memory, BITS[dtype]
        self.workers = min(8, cores()) if workers is None else workers
        self.decode = decode
        self._check_decode()
        self._cuts()  # refuses sizes that do not fit
        self._listed: tuple[list[str], dict[str, Listing]] | None = None
        self._files_of: dict[str, Files] = {}
        self._all_test = False

    def _check_decode(self) -> None:
        if self.decode not in ("cpu", "gpu"):
            raise ValueError(f"unknown decode {self.decode!r}; choose from cpu, gpu")
        if self.decode == "gpu" and (self.in_memory or not self._cuts()):
            raise ValueError(
                "decode 'gpu' requires random crops of files: views, or augment with crop or "
                "translate, and no in_memory: true"
            )
        if self.decode == "gpu" and self.bits != 8:
            raise ValueError("decode 'gpu' cannot be combined with dtype 'uint16'")
        if self.decode == "gpu" and self.channels == 4:
            raise ValueError("decode 'gpu' requires channels 1 or 3: JPEGs have no fourth")

    def listing(self) -> tuple[list[str], dict[str, Listing]]:
        """Names of the classes; images of ``train``, and of ``val`` and ``test`` where given."""
        raise ValueError(f"{type(self).__name__} must define listing, the images of each part")

    @property
    def classes(self) -> Sequence[str]:  # type: ignore[override]
        """Names of the classes in the order of their labels; reads the lists of files."""
        return self._listing()[0] if self.naming.asked is None else self.naming.asked

    def own_classes(self) -> Sequence[str]:
        """Names of the classes as the images are listed."""
        return self._listing()[0]

    def take_classes(self, names: Sequence[str]) -> None:
        """Keep the attributes: `classes` and `num_classes` follow the names."""

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """Number of classes; 0 where there are none."""
        return len(self.classes)

    def prepare_data(self) -> None:
        """Check that there are images, and whether its classes are among those asked."""
        self.naming.compare(self)

    def sources(self) -> dict[str, Source]:
        """The images of every part, in memory or as files."""
        self._files_of = parts = self._parts_of(self._listing()[1])
        count = sum(len(files) for files in parts.values())
        size = count * self.channels * self.image_size**2 * self.bits // 8
        cuts = {} if self.in_memory else self._cuts()
        if self.in_memory is False or (self.in_memory is None and (cuts or size > MEMORY)):
            for files in parts.values():
                files.cuts = cuts
            return dict(parts)
        found: dict[str, Source] = {}
        broken: list[str] = []
        for name, files in parts.items():
            if not len(files):
                found[name] = files
                continue
            found[name], reasons = files.in_memory()
            broken += reasons
        if broken:
            rank_zero_warn(
                f"{len(broken)} of {count} images cannot be read and are left out; "
                f"first: {broken[0]}",
                stacklevel=2,
            )
        return found

    def test_on_all(self, known: Callable[[dict[str, splits.Rows]], bool]) -> None:
        """Make every image a test image, where there is no test part; call it before `setup`.

        Args:
            known: True for splits that are a run's: its data, wherever they are now.
        """
        listings = self._listing()[1]
        if "test" not in listings:
            parts = self._parts_of(listings)
            self._all_test = not known({k: part.index.numpy() for k, part in parts.items()})
        if self._all_test:
            self.few = None

    def train_dataloader(self) -> TrainLoader | SemiLoader:
        """Shuffled batches, see `Images`.

        Raises:
            ValueError: also where a GPU is to decode and there is none.
        """
        gpu = on_gpu.device_for(self.trainer) if self.decode == "gpu" else None
        loader = super().train_dataloader()
        for files in self._files_of.values():
            files.gpu = gpu
        return loader

    def file_names(self, split: str, index: Sequence[int]) -> list[str]:
        """Names of the files of a split's images, by their ``index``."""
        self.setup()
        files = self._files_of[split]
        rows = {at: row for row, at in enumerate(files.index.tolist())}
        return [files.name(rows[at]) for at in index]

    def _cuts(self) -> dict[str, list[Cut]]:
        """Random parts of training images that are cut out of the originals, by part of a batch."""
        if self.binarize != "none":
            return {}
        if self.views is not None:
            return {"image": [RandomCrop(*crop) for crop in self.views.crops(self.image_size)]}
        augment = self.finish.augment
        if augment is None or not (augment.crop or augment.translate):
            return {}
        cut: Cut = Shift(self.image_size, augment.translate, augment.padding)
        if augment.crop:
            cut = RandomCrop(self.image_size, (augment.crop[0], augment.crop[1]))
        return {"image": [cut], "labeled": [cut], "unlabeled": [cut, cut]}

    def _listing(self) -> tuple[list[str], dict[str, Listing]]:
        if self._listed is None:
            self._listed = self.listing()
        return self._listed

    def _parts_of(self, listings: dict[str, Listing]) -> dict[str, Files]:
        """The parts ``train val test`` as files, chosen before anything is decoded."""
        every = listings["train"]
        stay = np.arange(len(every.labels))
        if self._all_test:
            none = self._files(every, stay[:0])
            return {"train": none, "val": none, "test": self._files(every, stay)}
        parts = {}
        for name in ("test", "val"):
            if name in listings and not (name == "val" and self.division.folds):
                rows = np.arange(len(listings[name].labels))
                parts[name] = self._files(listings[name], rows)
                continue
            keep, held = self._hold_out(name, every.labels[stay])
            parts[name] = self._files(every, stay[held])
            stay = stay[keep]
        return {"train": self._files(every, stay), "val": parts["val"], "test": parts["test"]}

    def _hold_out(self, name: str, labels: splits.Rows) -> tuple[splits.Rows, splits.Rows]:
        if name == "val":
            return self.division.hold_out(labels)
        return splits.part(labels, self.test_size, self.division.seed, "test_size")

    def _files(self, listing: Listing, rows: splits.Rows) -> Files:
        form = Form(self.image_size, self.channels, self.crop_ratio, self.bits)
        return listing.source(rows, form, self.workers)
