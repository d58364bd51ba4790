"""``new``: a project of your own, with a method, data, a backbone, a callback, recipes and tests.

The files below ``project/`` are the project as it is written, for the name ``mylab``; their suffix
``.tmpl`` keeps tools from taking them for code of genlab's.
"""

from __future__ import annotations

import importlib.util
import keyword
import os
import shutil
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

from genlab import __version__
from genlab.cluster import slurm
from genlab.errors import RecipeError, RunError

TEMPLATE = Path(__file__).parent / "project"
NAME = "mylab"  # as the template says


def new_options(parser: ArgumentParser) -> None:
    """A project of your own: a method, data, a backbone, a callback, recipes, tests."""
    parser.add_argument("dir", metavar="DIR", help="a new folder; its name is the package's")


def new(dir: str) -> None:
    """Write a project into a new or empty folder, whole or not at all."""
    target = Path(dir)
    name = target.absolute().name
    check_name(name)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RecipeError(f"{target} exists and is not an empty folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=target.absolute().parent))
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror}") from None
    try:
        write_project(folder, name)
        folder.chmod(0o777 & ~_umask())
        os.replace(folder, target)
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{target}: cd {target} && genlab fit turns/digits; README.md has the other commands")


def check_name(name: str) -> None:
    """Refuse a name that cannot be a package's, or is another package's.

    Raises:
        RecipeError: not a lower-case identifier, a keyword, a module of Python's, or installed.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise RecipeError(
            f"{name!r} is not a package name", hint="use small letters, digits and underscores"
        )
    reserved = name in sys.stdlib_module_names or name in ("tests", "recipes", "runs")
    spec = importlib.util.find_spec(name)
    if reserved or (spec and spec.origin):  # a mere folder has no origin
        raise RecipeError(f"{name} is the name of another package; choose another folder name")


def write_project(folder: Path, name: str) -> None:
    """Every file of the template under its own name, and genlab's job script."""
    for source in sorted(TEMPLATE.rglob("*.tmpl")):
        place = source.relative_to(TEMPLATE).as_posix().removesuffix(".tmpl")
        target = folder / place.replace(NAME, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text(encoding="utf-8").replace("GENLAB_VERSION", __version__)
        target.write_text(text.replace(NAME, name), encoding="utf-8")
    (folder / "slurm").mkdir()
    shutil.copyfile(slurm.script(), folder / "slurm" / "train.sbatch")


def _umask() -> int:
    """The mask of the process, which can be read by setting it only."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
