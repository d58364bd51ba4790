"""Fingerprints: the same run has the same one, another run another."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from genlab import recipes
from genlab.recipes import fingerprints, imports
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
FILES = {
    "__init__.py": "",
    "methods/__init__.py": "",
    "losses/__init__.py": "from .near import distance\nfrom .far import other\n",
    "losses/near.py": "from ..tools import seed\ndef distance(a, b, p=2): return seed(0)\n",
    "losses/far.py": "def other(a): return a\n",
    "networks/__init__.py": "",
    "networks/nets.py": "class Net:\n    def __init__(self, width): self.width = width\n",
    "tools.py": "def seed(value): return value\n",
}


def of(file: Path, *words: str) -> str:
    return fingerprints.fingerprint(recipes.resolve([file], words))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(RECIPE)
    return tmp_path / "mine.yaml"


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
    closure = imports.Closure(fingerprints.classes(recipes.resolve([file])))
    return fingerprints.of_parts(recipes.resolve([file]), closure.digests)


def test_comments_heads_places_and_seeds_are_not_in_it(file: Path) -> None:
    same = of(file)
    assert len(same) == 64
    for text in (
        f"# A comment.\n{RECIPE}",
        f"title: a head\nmeasured: not run\n---\n{RECIPE}",
        RECIPE.replace("root: here", "root: /elsewhere"),
        RECIPE.replace("seed_everything: 0", "seed_everything: 7"),
        f"{RECIPE}track: {{runs: /else/where, wandb: true}}\n",
        RECIPE.replace("VAE", "genlab.methods.vae.VAE"),
        "".join(reversed(RECIPE.splitlines(keepends=True))),
    ):
        file.write_text(text)
        assert of(file) == same
    assert of(file, "track.runs=a") == same
    assert of(file, "trainer.default_root_dir=a") == same


def test_settings_and_versions_are_in_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [of(file), of(file, "model.latent_dim=5"), of(file, "trainer.max_epochs=4")]
    found += [of(file, "data=MNIST"), of(file, "data.labels_seed=3"), of(file, "model.lr=1e-3")]
    for name in ("torch", "timm"):
        other = fingerprints.versions() | {name: "0.1"}
        monkeypatch.setattr(fingerprints, "versions", lambda other=other: other)
        found.append(of(file))
    assert len(set(found)) == len(found)


def test_a_file_counts_by_its_content(file: Path) -> None:
    def of_weights(name: str, content: bytes) -> str:
        (file.parent / name).write_bytes(content)
        return of(file, f"model.pretrained={file.parent / name}")

    assert of_weights("a.pt", b"1") == of_weights("b.pt", b"1") != of_weights("a.pt", b"2")


CHANGES = {
    "comment": ("losses/near.py", "def distance", "# Manhattan\ndef distance", True),
    "docstring": ("methods/mine.py", '"""Make it."""', '"""Made."""', True),
    "no docstring": ("methods/mine.py", '    """Mine."""\n', "", True),
    "blank lines": ("networks/nets.py", "class Net", "\n\n\nclass Net", True),
    "unused neighbour": ("losses/far.py", "return a", "return -a", True),
    "a default": ("losses/near.py", "p=2", "p=1", False),
    "a seed's use": ("losses/near.py", "seed(0)", "seed(1)", False),
    "far import": ("tools.py", "return value", "return value + 1", False),
    "through a face": ("networks/nets.py", "= width", "= 2 * width", False),
    "own text": ("methods/mine.py", "width=3", "width='3'", False),
}


@pytest.mark.parametrize("kind", sorted(CHANGES))
def test_code_that_the_run_imports_is_in_it(lab: Path, kind: str) -> None:
    path, old, new, same = CHANGES[kind]
    before = code_of(lab.parent / "own.yaml")
    text = (lab / path).read_text()
    assert old in text
    (lab / path).write_text(text.replace(old, new))
    assert (code_of(lab.parent / "own.yaml") == before) == same


def test_genlabs_own_modules_are_followed(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(imports.ROOT, copy, ignore=shutil.ignore_patterns("__pycache__", "_share"))
    before = of(file)
    monkeypatch.setattr(imports, "ROOT", copy)
    assert of(file) == before
    for path, same in (
        ("losses/contrastive.py", True),  # of another method
        ("methods/simclr.py", True),
        ("metrics/active_units.py", True),  # measures only
        ("losses/likelihood.py", False),
        ("networks/mlps.py", False),
        ("data/loader.py", False),
        ("optim/schedules.py", False),
    ):
        text = (copy / path).read_text()
        (copy / path).write_text(f"{text}\nCHANGED = 1\n")
        assert (of(file) == before) == same, path
        (copy / path).write_text(text)


def test_every_recipe_has_code_of_its_classes() -> None:
    for name in (
        "vq_prior/mnist",
        "moco/digits",
        "linear/mnist",
        "fixmatch/cifar10_250",
        "knn/mnist",
    ):
        recipe = recipes.resolve([name])
        closure = imports.Closure(fingerprints.classes(recipe))
        for group in ("model", "data"):
            assert recipe.config[group]["class_path"].rpartition(".")[0] in closure.modules
        assert "genlab.optim.building" in closure.modules or name == "knn/mnist"
        assert all(module.split(".")[1] in imports.ROOMS for module in closure.modules)


@pytest.mark.slow
def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys; from genlab import recipes; from genlab.recipes import fingerprints\n"
        "fingerprints.fingerprint(recipes.resolve(['simclr/digits']))\n"
        "assert not {'torch', 'timm', 'lightning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def digest(text: str, folder: Path) -> str:
    (folder / "one.py").write_text(text)
    return imports.Source("one", folder / "one.py").digest


def test_a_digest_is_the_same_in_all_versions_of_python(tmp_path: Path) -> None:
    text = (
        'class A(B, c=1):\n    """Doc."""\n    def f(self, *, a, b=2): return f"{a:{b}.3}x{b!r}"\n'
    )
    assert digest(text, tmp_path)[:16] == "fae22b1946b4ef1a"  # of 3.11, 3.12 and 3.13


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f(1)", "f(1.0)"), ("f(a)", "f(b)"), ("f(*a)", "f(**a)"), ("x = 'a'", "x = b'a'"),
        ("a + b", "a - b"), ("def f(a, b=1): 0", "def f(a=1, b=1): 0"), ("a; b", "b; a"),
        ("def f():\n  return", "def f():\n  pass"), ("x: int = 1", "x = 1"),
        ("def f(*, a, b=1): 0", "def f(*, a=1, b): 0"), ("'text'\n1", "'text'\n2"),
        ("def f():\n  0\n  'text'", "def f():\n  0\n  'other'"), ("f'{a}'", "f'{a!r}'"),
        ("f'{a:1}'", "f'{a:2}'"), ("if a: b\nelse: c", "if a: b\nc"), ("(a, b)", "[a, b]"),
    ],
)  # fmt: skip
def test_other_code_has_another_digest(tmp_path: Path, one: str, other: str) -> None:
    assert digest(one, tmp_path) != digest(other, tmp_path)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f( 1 )", "f(1)"), ('x = "a"', "x = 'a'"), ("'doc'\n1", "1"), ("a = (1)", "a = 1"),
        ("def f():\n  'doc'\n  return 1", "def f():\n  return 1  # one"), ("1_000", "1000"),
        ("class A:\n  'doc'\n  b = 1", "class A:\n  b = 1"), ("a\n\n\nb", "a; b"),
    ],
)  # fmt: skip
def test_the_same_code_has_the_same_digest(tmp_path: Path, one: str, other: str) -> None:
    assert digest(one, tmp_path) == digest(other, tmp_path)
