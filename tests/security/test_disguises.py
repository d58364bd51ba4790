"""A class name in disguise: inside a string, behind a module of genlab's, in a foreign sweep."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import genlab
from genlab import recipes
from genlab.errors import InputError
from genlab.methods.vae import VAE
from genlab.training.parsing import parse
from tests.security.conftest import Stranger

PLAIN = {"class_path": "evil.Data", "init_args": {}}
BEHIND = "genlab.training.record.subprocess.Popen"  # what a module of genlab's has imported
DISGUISES: dict[str, Any] = {
    "mapping": PLAIN,
    "list": [[PLAIN]],
    "string": "{class_path: evil.Data, init_args: {}}",
    "json": json.dumps(PLAIN),
    "escaped": '{"class\\u005fpath": "evil.Data"}',
    "block": "class_path: evil.Data\ninit_args: {}",
    "string_in_a_string": json.dumps({"x": json.dumps(PLAIN)}),
}


def _argument(name: str, value: Any) -> Any:
    def change(content: dict[str, Any]) -> None:
        content["hyper_parameters"][name] = value

    return change


@pytest.mark.parametrize("form", ["mapping", "list", "string", "json", "escaped", "block"])
def test_the_disguises_would_work(stranger: Stranger, form: str) -> None:
    """The control: where a user typed them, the parser of arguments makes the object."""
    recipe = recipes.resolve(["vae/digits"])
    given = {"image_size": 8, "channels": 1, "optimizer": {"name": DISGUISES[form]}}
    parse(VAE, "model", given, recipe).made()
    assert stranger.marked


@pytest.mark.parametrize("command", ["test", "evaluate", "sample", "export"])
@pytest.mark.parametrize("form", DISGUISES)
def test_a_methods_argument(
    stranger: Stranger, trained: dict[str, Path], command: str, form: str
) -> None:
    file = stranger.forge(trained["vae"], _argument("optimizer", {"name": DISGUISES[form]}))
    more = ("--out", "x") if command == "export" else ()
    if command in ("test", "evaluate"):
        stranger.refused(command, file, *more, name="evil.Data")
    else:  # these build the method alone, which takes the value as it is
        stranger.here.capture.readouterr()
        with contextlib.suppress(AssertionError):
            stranger.here(command, file, *more, code=0)
        assert not stranger.marked


def test_a_name_behind_a_module_of_genlabs(stranger: Stranger, trained: dict[str, Path]) -> None:
    spec = {"class_path": BEHIND, "init_args": {"args": ["touch", "MARK"]}}
    file = stranger.forge(trained["vae"], _argument("optimizer", {"name": spec}))
    stranger.refused("test", file, name=BEHIND)


@pytest.mark.parametrize(
    "trainer",
    [
        "profiler: '{class_path: evil.Watcher}'",
        "strategy: evil.Watcher",
        "callbacks: [{class_path: genlab.training.refusals.lightning_callbacks.LambdaCallback}]",
        "callbacks: ['{class_path: evil.Watcher}']",
    ],
)
def test_a_trainer_in_a_runs_recipe(
    stranger: Stranger, trained: dict[str, Path], trainer: str
) -> None:
    run = stranger.folder / "run"
    shutil.copytree(trained["vae"], run)
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["trainer"] |= yaml.safe_load(trainer)
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    for words in (
        ["fit", "--resume", "run"],
        ["submit", "--resume", "run", "--dry-run"],
        ["fit", "run"],
    ):
        stranger.refused(*words, "trainer.max_steps=2")
    with pytest.raises(InputError, match="is refused"):
        genlab.fit(resume="run", settings={"trainer.max_steps": 2})
    assert not stranger.marked


def test_a_tokenizers_description_taken_on_resume(
    stranger: Stranger, trained: dict[str, Path]
) -> None:
    from genlab.training.continuing import content, take_from

    recipe = recipes.from_config({"recipe": {"data": {"class_path": "Digits"}}, "name": "x"}, "x")
    recipe.config["model"] = {"class_path": "VQPrior", "init_args": {"tokenizer": "elsewhere"}}
    file = stranger.forge(trained["vae"], _argument("tokenizer_spec", PLAIN))
    with pytest.raises(InputError, match=r"evil\.Data is refused"):
        take_from(content(stranger.folder / file), recipe)


@pytest.mark.parametrize(
    "content",
    [
        {"fixed": ["vae/digits", "data=evil.Data"], "runs": ["s-0"], "trials": [["model.lr=1"]]},
        {"fixed": ["vae/digits"], "runs": ["s-0"], "trials": [["data=evil.Data"]]},
        {"fixed": ["vae/digits"], "runs": ["../s-0"], "trials": [["model.lr=1"]]},
    ],
)
def test_a_foreign_sweep(stranger: Stranger, content: dict[str, Any]) -> None:
    folder = stranger.folder / "runs" / "vae" / "digits" / "s"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps(content))
    stranger.refused("sweep", "--resume", "s", "--dry-run")
