"""ImageNet and TinyImageNet in the layouts that they are given out in."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.files.folder_index import index_of
from genlab.data.files.folder_scan import DOWNLOADED, TINY, Listing, listed
from genlab.data.files.label_names import numbers_of
from genlab.errors import first_line
from genlab.files import check_regular, text_of

IMAGES = (".", *DOWNLOADED)  # folders that contain train, val
TABLES = (".", "val", "ILSVRC2012_devkit_t12/data", "devkit/data", "ILSVRC/devkit/data", "data")
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"  # a number a line
SYNSETS = "map_clsloc.txt"  # n02119789 1 kit_fox
META = "meta.mat"
SOLUTION = "LOC_val_solution.csv"  # ImageId,PredictionString
SYNSET_LABELS = "imagenet_2012_validation_synset_labels.txt"  # a WordNet id a line
ANNOTATIONS = TINY  # val_0.JPEG n03444034 0 32 44 62
VAL_NUMBER = re.compile(r"ILSVRC2012_val_0*([1-9][0-9]*)\.")
WORDNET = re.compile(r"n[0-9]{8}")

Classes = dict[str, str]  # of images by name; of devkit's images by number
Answers = Callable[[], tuple[Path, Classes]]  # the table that says them
Parts = tuple[list[str], dict[str, Listing]]


def imagenet(root: Path, anew: bool = False) -> Parts:
    """Classes, and images of ``train`` and ``test``: the validation images, in folders or flat.

    Args:
        root: folder of ``train`` and ``val``, or the one in which Kaggle's archive was unpacked.
            Flat validation images require one of these in it, in ``val`` or in a devkit:
            `GROUND_TRUTH` with `META` or `SYNSETS`, `SOLUTION`, or `SYNSET_LABELS`.
        anew: True not to use a list kept in the cache, see `folder_index.index_of`.

    Raises:
        MissingDataError: no such folder, or no table.
        BrokenDataError: a damaged table, or an image that it does not name.
    """
    base = next((found for name in IMAGES if (found := root / name / "train").is_dir()), None)
    return _parts(root if base is None else base.parent, lambda: _imagenet_answers(root), anew)


def tiny_imagenet(root: Path, anew: bool = False) -> Parts:
    """As `imagenet`, from ``train/CLASS/images``, ``val/images`` and `ANNOTATIONS` in ``val``."""
    file = root / "val" / ANNOTATIONS
    return _parts(root, lambda: (file, _annotations(file)), anew)


def _parts(base: Path, answers: Answers, anew: bool) -> Parts:
    train, val = base / "train", base / "val"
    for place in (train, val):
        if not place.is_dir():
            raise MissingDataError(f"no folder {place}; data.root must contain train and val")
    index, held = index_of(train, anew), index_of(val, anew)
    classes = index.classes(str(train))
    for place, found in (train, len(classes)), (val, len(held)):
        if not found:
            kind = "folders of images" if place is train else "images"
            raise MissingDataError(f"no {kind} in {place}")
    if set(held.classes(str(val))) - {"images"}:
        test = listed(held, classes, False)
    else:
        file, known = answers()
        names = [_class_of(path.name, known, file) for path in held.names]
        test = Listing(held.names, numbers_of(names, classes, file))
        if (missing := len(known) - len(names)) > 0:
            rank_zero_warn(f"{missing} of {len(known)} images of {file} are not in {val}")
    return classes, {"train": listed(index, classes, False), "test": test}


def _class_of(name: str, known: Classes, file: Path) -> str:
    number = VAL_NUMBER.match(name)
    for key in (name, Path(name).stem, number[1] if number else ""):
        if key in known:
            return known[key]
    raise BrokenDataError(f"{file} has no class of the validation image {name}")


def _imagenet_answers(root: Path) -> tuple[Path, Classes]:
    """The table of the validation images' classes, whichever is there."""
    for name, read in (SOLUTION, _solution), (SYNSET_LABELS, _labels), (GROUND_TRUTH, _truth):
        if file := _find(root, name):
            return file, read(file, root)
    raise MissingDataError(
        f"validation images of {root} are not in folders of classes: they require\n"
        f"{GROUND_TRUTH} of the devkit, {SOLUTION} or {SYNSET_LABELS}"
    )


def _find(root: Path, name: str) -> Path | None:
    places = (root / folder / name for folder in TABLES)
    return next((file for file in places if file.exists()), None)


def _solution(file: Path, root: Path) -> Classes:
    """Kaggle's table: the first word of a prediction is the class."""
    found = {}
    for number, line in enumerate(_lines(file)[1:], 2):
        name, _, said = line.partition(",")
        if not name or not said.strip():
            raise BrokenDataError(f"{file}, line {number}: not a name and a class")
        found[name] = _wordnet(said.split()[0], file, number)
    return found


def _labels(file: Path, root: Path) -> Classes:
    lines = enumerate(_lines(file), 1)
    return {str(number): _wordnet(line.strip(), file, number) for number, line in lines}


def _truth(file: Path, root: Path) -> Classes:
    """The devkit's ground truth: numbers of classes, whose WordNet ids another file says."""
    ids = _ids(file, root)
    found = {}
    for number, line in enumerate(_lines(file), 1):
        if line.strip() not in ids:
            raise BrokenDataError(f"{file}, line {number}: {line[:40]!r} is not a class's number")
        found[str(number)] = ids[line.strip()]
    return found


def _ids(truth: Path, root: Path) -> Classes:
    """WordNet ids by the devkit's numbers of classes."""
    if file := _find(root, SYNSETS):
        rows = enumerate((line.split() for line in _lines(file)), 1)
        return {_number(row, file, k): _wordnet(row[0], file, k) for k, row in rows}
    if not (file := _find(root, META)):
        raise MissingDataError(f"{truth} requires {META} or {SYNSETS} of the devkit")
    return _meta(file)


def _meta(file: Path) -> Classes:
    from scipy.io import loadmat

    try:
        check_regular(file)
        synsets: Any = loadmat(file, squeeze_me=True)["synsets"]
        pairs = zip(synsets["ILSVRC2012_ID"].tolist(), synsets["WNID"].tolist(), strict=True)
        return {str(int(number)): _wordnet(str(name), file, k) for k, (number, name)
                in enumerate(pairs, 1)}  # fmt: skip
    except BrokenDataError:
        raise
    except Exception as error:  # a damaged file makes scipy raise a dozen kinds
        raise BrokenDataError(f"{file} is not the devkit's table: {first_line(error)}") from None


def _annotations(file: Path) -> Classes:
    found = {}
    if not file.exists():
        raise MissingDataError(f"no file {file}: the classes of the validation images")
    for number, line in enumerate(_lines(file), 1):
        words = line.split()
        if len(words) < 2:
            raise BrokenDataError(f"{file}, line {number}: not a name and a class")
        found[words[0]] = _wordnet(words[1], file, number)
    return found


def _lines(file: Path) -> list[str]:
    """Lines of a table, without the empty ones at its end."""
    try:
        return text_of(file).rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenDataError(f"{file} cannot be read: {first_line(error)}") from None


def _number(words: list[str], file: Path, line: int) -> str:
    if len(words) < 2 or not words[1].isdecimal():
        raise BrokenDataError(f"{file}, line {line}: not a class and its number")
    return words[1]


def _wordnet(word: str, file: Path, line: int) -> str:
    if not WORDNET.fullmatch(word):
        raise BrokenDataError(f"{file}, line {line}: {word[:40]!r} is not a WordNet id")
    return word
