"""A stranger's checkpoint runs nothing: each trick is refused in two lines, or of no effect."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import genlab
from genlab import recipes
from genlab.errors import InputError
from tests.security.conftest import Stranger

LIGHT = "--samples", "10"


def _data(spec: Any) -> Any:
    def change(content: dict[str, Any]) -> None:
        content["genlab"]["recipe"]["data"] = spec

    return change


def _class(name: str) -> Any:
    def change(content: dict[str, Any]) -> None:
        content["genlab"]["class_path"] = name
        content["hyper_parameters"]["_class_path"] = name

    return change


def test_the_tricks_would_work(stranger: Stranger) -> None:
    """The control: whoever imports or calls the named things leaves the mark."""
    importlib.import_module("evil").call()
    assert stranger.marked
    sys.modules.pop("evil")


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate"],
        ["test"],
        ["validate"],
        ["predict"],
        ["embed"],
        ["reconstruct"],
        ["interpolate"],
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["subprocess.Popen", "evil.Data", "evil.call"])
def test_a_data_class(
    stranger: Stranger, trained: dict[str, Path], words: list[str], name: str
) -> None:
    spec = {"class_path": name, "init_args": {"args": ["touch", "MARK"]}}
    file = stranger.forge(trained["vae"], _data(spec))
    stranger.refused(*words, file, name=name)


def test_a_class_among_the_datas_arguments(stranger: Stranger, trained: dict[str, Path]) -> None:
    nested = {"class_path": "evil.Data", "init_args": {}}
    file = stranger.forge(
        trained["vae"], _data({"class_path": "Digits", "init_args": {"views": [nested]}})
    )
    stranger.refused("test", file, name="evil.Data")


@pytest.mark.parametrize(
    "spec", ["evil.yaml", ["evil.Data"], None, {"class_path": "Digits", "init_args": "x.yaml"}]
)
def test_data_that_is_no_mapping_opens_no_file(
    stranger: Stranger, trained: dict[str, Path], spec: Any
) -> None:
    (stranger.folder / "evil.yaml").write_text("class_path: evil.Data")
    stranger.refused("test", stranger.forge(trained["vae"], _data(spec)))


@pytest.mark.parametrize("command", ["test", "sample", "evaluate", "embed", "reconstruct"])
@pytest.mark.parametrize("name", ["evil.Method", "evil.call", "os.system"])
def test_the_methods_class(
    stranger: Stranger, trained: dict[str, Path], command: str, name: str
) -> None:
    file = stranger.forge(trained["vae"], _class(name))
    stranger.refused(command, file, name=name)


def test_export_and_python(stranger: Stranger, trained: dict[str, Path]) -> None:
    file = stranger.forge(trained["vae"], _class("evil.Method"))
    stranger.refused("export", file, "--out", "out", name="evil.Method")
    assert not (stranger.folder / "out").exists()
    with pytest.raises(InputError, match=r"--trust evil\.Method"):
        genlab.load(file)
    assert not stranger.marked


def test_trusting_by_name(stranger: Stranger, trained: dict[str, Path]) -> None:
    """The control of all refusals: the named class is then built, and its weights do not fit."""
    file = stranger.forge(trained["vae"], _class("evil.Method"))
    with pytest.raises(InputError, match="does not fit Method"):
        genlab.load(file, trust=["evil.Method"])
    assert stranger.marked
    sys.modules.pop("evil")


def test_the_trainer_is_genlabs_own(stranger: Stranger, trained: dict[str, Path]) -> None:
    """Callbacks, plugins, a profiler and a thousand devices in the file change nothing."""

    def change(content: dict[str, Any]) -> None:
        profiler = {"class_path": "lightning.pytorch.profilers.SimpleProfiler",
                    "init_args": {"dirpath": str(stranger.folder), "filename": "MARK"}}  # fmt: skip
        content["genlab"]["recipe"]["trainer"] = {
            "devices": 100_000,
            "profiler": profiler,
            "plugins": [{"class_path": "evil.Watcher"}],
            "callbacks": [
                {"class_path": "evil.Watcher"},
                {"class_path": "lightning.pytorch.callbacks.LambdaCallback",
                 "init_args": {"on_test_start": "evil.call"}},
            ],
        }  # fmt: skip
        content["genlab"]["recipe"]["checkpoint"] = {"class_path": "evil.Watcher"}
        content["genlab"]["recipe"]["track"] = {"runs": "/nowhere"}

    stranger.here("test", stranger.forge(trained["vae"], change))
    assert not stranger.marked
    assert "evil" not in sys.modules
    assert not list(stranger.folder.glob("*MARK*"))


def test_the_trainers_trick_would_work(stranger: Stranger, trained: dict[str, Path]) -> None:
    """The control: the same callback in a recipe of the user's own leaves the mark."""
    (stranger.folder / "own.yaml").write_text(
        "config: vae/digits\ntrainer: {callbacks: [{class_path: evil.Watcher}]}\n"
    )
    stranger.here("fit", "own.yaml", "--print_config")
    assert stranger.marked
    sys.modules.pop("evil")


def test_a_runs_recipe_beside_a_checkpoint(stranger: Stranger, trained: dict[str, Path]) -> None:
    run = stranger.folder / "run"
    shutil.copytree(trained["vae"], run)
    text = (run / "recipe.yaml").read_text()
    changed = text.replace("class_path: ConfusionMatrix", "class_path: evil.Watcher")
    assert changed != text
    (run / "recipe.yaml").write_text(changed)
    stranger.here("test", "run")  # measured by the checkpoint's data and genlab's own trainer
    assert not stranger.marked
    stranger.refused("fit", "--resume", "run", "trainer.max_steps=2", name="evil.Watcher")
    stranger.refused("submit", "--resume", "run", "--dry-run", name="evil.Watcher")
    (run / "recipe.yaml").write_text("config: ../own.yaml\n" + text)
    (stranger.folder / "own.yaml").write_text("trainer: {callbacks: [evil.Watcher]}")
    stranger.refused("fit", "--resume", "run")


@pytest.mark.parametrize(
    "value", ["evil.Watcher", ["evil.Watcher"], {"class_path": "evil.Watcher"}]
)
@pytest.mark.parametrize("key", ["callbacks", "plugins", "profiler", "strategy"])
def test_every_way_to_name_a_class_in_a_trainer(stranger: Stranger, key: str, value: Any) -> None:
    assert recipes.foreign({"trainer": {key: value}}) == {"evil.Watcher"}


def test_a_tokenizer(stranger: Stranger, trained: dict[str, Path]) -> None:
    file = stranger.forge(trained["vqvae"], _class("evil.Method"))
    words = "fit", "vq_prior/digits", f"model.tokenizer={file}", "--print_config"
    stranger.refused(*words, name="evil.Method")


def test_a_tokenizers_description_in_a_priors_checkpoint(
    stranger: Stranger, trained: dict[str, Path]
) -> None:
    spec = {"class_path": "evil.Method", "init_args": {}}
    name = "genlab.methods.vq_prior.VQPrior"
    given: dict[str, Any] = {"_class_path": name, "tokenizer_spec": spec}
    content = {"state_dict": {}, "hyper_parameters": given}
    torch.save(content, stranger.folder / "x.ckpt")
    stranger.refused("sample", "x.ckpt", name="evil.Method")
    given |= {"tokenizer_spec": None, "tokenizer": "other.ckpt"}
    torch.save(content, stranger.folder / "x.ckpt")
    assert "a checkpoint holds its own weights" in stranger.refused("sample", "x.ckpt")


def test_tokenizers_of_tokenizers_without_end(
    tmp_path: Path,
) -> None:
    """A file that names itself, and one that describes a prior of a prior of ..."""
    name, file = "genlab.methods.vq_prior.VQPrior", tmp_path / "x.ckpt"
    deep: dict[str, Any] = {"class_path": name, "init_args": {}}
    for _ in range(400):
        deep = {"class_path": name, "init_args": {"tokenizer_spec": deep}}
    limit = sys.getrecursionlimit()
    for given in ({"tokenizer": str(file)}, {"tokenizer_spec": deep}):
        content = {"state_dict": {}, "hyper_parameters": {"_class_path": name, **given}}
        sys.setrecursionlimit(50_000)
        torch.save(content, file)
        sys.setrecursionlimit(limit)
        with pytest.raises(InputError, match=r"is refused|nested too deep") as refused:
            genlab.load(file)
        assert len(str(refused.value).splitlines()) == 1


def test_a_judge(stranger: Stranger, trained: dict[str, Path]) -> None:
    file = stranger.forge(trained["classifier"], _class("evil.Method"))
    stranger.refused("evaluate", str(trained["vae"]), "--judge", file, *LIGHT, name="evil.Method")


def test_pretrained_weights_name_no_class(stranger: Stranger, trained: dict[str, Path]) -> None:
    """Only weights and the name of a network are taken of the file, never its class."""
    file = stranger.forge(trained["classifier"], _class("evil.Method"))
    stranger.here("fit", "linear/digits", f"model.pretrained={file}", "--print_config")
    assert not stranger.marked

    def change(content: dict[str, Any]) -> None:
        content["hyper_parameters"]["encoder"] = "evil.Method"

    file = stranger.forge(trained["classifier"], change)
    stranger.refused("fit", "linear/digits", f"model.pretrained={file}", "--print_config")


@pytest.mark.parametrize(
    "key",
    ["checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"],
)
def test_arguments_that_load_are_taken_out(
    stranger: Stranger, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    opened: list[str] = []
    real = torch.load

    def load(file: Any, *rest: Any, **more: Any) -> Any:
        opened.append(str(file))
        return real(file, *rest, **more)

    def change(content: dict[str, Any]) -> None:
        value = {"file": "second.pt"} if "cfg" in key else "second.pt"
        content["hyper_parameters"]["encoder_kwargs"] = {key: value}

    file = stranger.forge(trained["classifier"], change)
    (stranger.folder / "second.pt").write_bytes(b"no weights")
    monkeypatch.setattr(torch, "load", load)
    genlab.load(file)
    stranger.here("test", file)
    assert not [name for name in opened if "second" in name]


@pytest.mark.parametrize("encoder", ["local-dir:elsewhere", "hf-hub:some/one"])
def test_an_encoder_at_an_address(
    stranger: Stranger, trained: dict[str, Path], encoder: str
) -> None:
    def change(content: dict[str, Any]) -> None:
        content["hyper_parameters"]["encoder"] = encoder

    file = stranger.forge(trained["classifier"], change)
    for command in ("test", "embed"):
        assert encoder in stranger.refused(command, file)
