"""Code that is followed: what a change of it does to a fingerprint."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from genlab import recipes
from genlab.recipes import fingerprints
from tests.conftest import Here

RECIPE = """\
data: {class_path: Digits, init_args: {batch_size: 64, root: here}}
model: {class_path: VAE, init_args: {latent_dim: 4}}
trainer: {max_epochs: 3}
seed_everything: 0
"""
METHOD = '''\
"""A method."""
import lightning as L
from {lab} import losses
from {lab}.networks import Net

class Mine(L.LightningModule):
    """Mine."""
    def __init__(self, width=3):
        """Make it."""
        super().__init__()
        self.net = Net(width)
    def training_step(self, batch, _):
        return losses.distance(batch, self.net)
'''
FACE = """from genlab import faces
def __getattr__(name):
    return faces.member(__name__, name)
"""
FILES = {
    "__init__.py": "",
    "methods/__init__.py": "",
    "losses/__init__.py": "from .near import distance\nfrom .far import other\n",
    "losses/near.py": "from ..tools import seed\ndef distance(a, b, p=2): return seed(0)\n"
    "def beside(a, b): return a - b\n",
    "losses/far.py": "def other(a): return a\n",
    "networks/__init__.py": FACE,
    "networks/nets.py": "class Net:\n    def __init__(self, width): self.width = width\n",
    "tools.py": "def seed(value): return value\n",
}


@pytest.fixture
def lab(request: pytest.FixtureRequest, here: Here, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a plugin in the working directory."""
    name = f"lab_{abs(hash(request.node.name))}"
    for path, text in (FILES | {"methods/mine.py": METHOD.format(lab=name)}).items():
        (here.folder / name / path).parent.mkdir(parents=True, exist_ok=True)
        (here.folder / name / path).write_text(text)
    (here.folder / "pyproject.toml").write_text(f'[tool.genlab]\nplugins = ["{name}"]\n')
    (here.folder / "own.yaml").write_text(
        RECIPE.replace("VAE", "Mine").replace("latent_dim", "width")
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    return here.folder / name


def code_of(file: Path) -> str:
    """A fingerprint of a recipe whose plugin was changed."""
    recipe = recipes.resolve([file])
    return fingerprints.of_parts(recipe, fingerprints.code(recipe).digests)


NET, NEAR, MINE = "networks/nets.py", "losses/near.py", "methods/mine.py"
CHANGES = {
    "comment": (NEAR, "def distance", "# Manhattan\ndef distance", True),
    "docstring": (MINE, '"""Make it."""', '"""Made."""', True),
    "no docstring": (MINE, '    """Mine."""\n', "", True),
    "blank lines": (NET, "class Net", "\n\n\nclass Net", True),
    "unused module": ("losses/far.py", "return a", "return -a", True),
    "unused neighbour": (NEAR, "return a - b", "return a + b", True),
    "new neighbour": (NEAR, "def distance", "def new(a): 0\ndef distance", True),
    "a type": (MINE, "width=3", "width: int = 3", True),
    "a default": (NEAR, "p=2", "p=1", False),
    "a seed's use": (NEAR, "seed(0)", "seed(1)", False),
    "far import": ("tools.py", "return value", "return value + 1", False),
    "through a face": (NET, "= width", "= 2 * width", False),
    "own text": (MINE, "width=3", "width='3'", False),
    "a face's patch": ("losses/__init__.py", "from .far", "near.P = 1\nfrom .far", False),
    "the package's patch": ("__init__.py", "", "import torch\ntorch.x = 1\n", False),
    "a patch on the way": ("methods/__init__.py", "", "from . import mine\nmine.X = 1\n", False),
    "another function": (NEAR, "from ..tools import seed", "from math import exp as seed", False),
    "not Python": ("tools.py", "def seed", "def seed(", False),
    "another library's function": (MINE, "import lightning as L", "import torch as L", False),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(CHANGES))
def test_code_that_the_run_imports_is_in_it(lab: Path, kind: str) -> None:
    path, old, new, same = CHANGES[kind]
    before = code_of(lab.parent / "own.yaml")
    text = (lab / path).read_text()
    assert old in text
    (lab / path).write_text(text.replace(old, new, 1))
    assert (code_of(lab.parent / "own.yaml") == before) == same


BY_NAME = "from importlib import import_module as i\n"
MAYBE = "try:\n    from .gone import f\nexcept ImportError:\n    from .h import f\n"
FOLLOWED = {
    "a module by its name": (
        "import importlib\nf = importlib.import_module('{lab}.h').f\n",
        "h.py",
    ),
    "a computed name": (f"{BY_NAME}f = i('{{lab}}.' + 'h').f\n", "h.py"),
    "a relative name": (f"{BY_NAME}f = i('.h', __package__).f\n", "h.py"),
    "a module as a value": ("from . import h\nf = getattr(h, 'f')\n", "h.py"),
    "a lazy face": ("from .face import f\n", "h.py"),
    "a star": ("from .h import *\n", "h.py"),
    "not for type checkers": ("if not TYPE_CHECKING:\n    from .h import f\n", "h.py"),
    "whichever there is": (MAYBE, "h.py"),
    "a file by name": ("f = open('numbers.json').read()\n", "numbers.json"),
    "files beside": ("f = list(Path(__file__).parent.glob('*'))\n", "numbers.json"),
    "a module that is patched": ("from . import h\nh.f = 3\nf = h.f\n", "h.py"),
    "a global": ("from .h import *\nf = globals()['f']\n", "h.py"),
}


@pytest.mark.parametrize("kind", sorted(FOLLOWED))
def test_code_is_followed_however_it_is_imported(lab: Path, kind: str) -> None:
    text, path = FOLLOWED[kind]
    (lab / "h.py").write_text("def f(value): return value\n")
    (lab / "numbers.json").write_text("[1]")
    (lab / "face.py").write_text(
        f"{BY_NAME}def __getattr__(name):\n    return getattr(i(H), name)\n"
    )
    (lab / "tools.py").write_text(text.format(lab=lab.name) + "def seed(value): return f(value)\n")
    before = code_of(lab.parent / "own.yaml")
    content = (lab / path).read_text()
    (lab / path).write_text(content.replace("return value", "return 2").replace("[1]", "[2]"))
    assert code_of(lab.parent / "own.yaml") != before
