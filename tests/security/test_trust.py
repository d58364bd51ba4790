"""A class of the user's own, declared nowhere: kept in the run's trust list, and only there."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import genlab
from genlab import recipes
from genlab.errors import InputError
from tests.conftest import Here, Shell
from tests.security.conftest import Stranger

OWN = """
from genlab.data import Digits
from genlab.methods import VAE
class Method(VAE): pass
class Data(Digits): pass
"""
TINY = ("trainer.max_steps=1", "trainer.limit_val_batches=1", "track.wandb=off",
        "track.test_after_fit=false")  # fmt: skip


@pytest.fixture
def own(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A folder with a module of the user's own, and a configuration folder."""
    (shell.folder / "own.py").write_text(OWN)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(shell.folder / "config"))
    return shell


def test_a_killed_run_resumes_and_a_copy_of_it_does_not(own: Shell) -> None:
    words = ("fit", "vae/digits", "model=own.Method", "track.wandb=off", "trainer.max_epochs=500",
             "trainer.max_steps=-1", "checkpoint.every_n_steps=5")  # fmt: skip
    process, end = own.start(*words), time.monotonic() + 200
    while not (kept := list(own.folder.glob("runs/**/last.ckpt"))) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    process.communicate()
    run = kept[0].parent.parent
    assert json.loads((run / "trust.json").read_text())["names"] == ["own.Method"]
    reached = torch.load(kept[0], weights_only=True)["global_step"]
    copy = own.folder / "runs" / "vae" / "digits" / "copy"
    shutil.copytree(run, copy)
    own("fit", "--resume", str(run), f"trainer.max_steps={reached + 5}", "trainer.max_epochs=-1")
    for command in (["fit", "--resume"], ["test"], ["sample"], ["submit", "--dry-run", "--resume"]):
        _, err = own(*command, str(copy), code=2)
        assert len(err.strip().splitlines()) == 2, err
        assert "--trust own.Method" in err
    assert not (copy / "metrics.json").exists()
    own("test", str(run))
    own("test", str(copy), "--trust", "own.Method")


def test_sweep_crossval_and_submit_keep_what_was_typed(own: Shell) -> None:
    typed = ("vae/digits", "data=own.Data")
    own("sweep", *typed, "model.optimizer.lr=0.001,0.002", *TINY, "--name", "s")
    for run in own.folder.glob("runs/vae/digits/s-*"):
        assert recipes.trust.of(run) == {"own.Data"}
    own("sweep", "--resume", "s", "--dry-run")
    folder = own.folder / "runs" / "vae" / "digits" / "s"
    shutil.copytree(folder, folder.with_name("t"))
    _, err = own("sweep", "--resume", "t", "--dry-run", code=2)
    assert "--trust own.Data" in err
    one = sorted(own.folder.glob("runs/vae/digits/s-*"))[0]
    own("submit", "--resume", str(one), "--dry-run")
    own("crossval", "classifier/digits", "data=own.Data", "--folds", "2", *TINY)


def test_a_signature_of_others_or_for_other_names_counts_for_nothing(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = here.folder / "run"
    run.mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here.folder / "a"))
    recipes.trust.keep(run, ["own.Data"])
    assert recipes.trust.of(run) == {"own.Data"}
    key = here.folder / "a" / "genlab" / "key"
    assert key.stat().st_mode & 0o077 == 0
    kept = json.loads((run / "trust.json").read_text())
    (run / "trust.json").write_text(json.dumps(kept | {"names": ["own.Data", "os.system"]}))
    assert not recipes.trust.of(run)
    (run / "trust.json").write_text(json.dumps(kept))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here.folder / "b"))
    assert not recipes.trust.of(run)


def test_a_function_in_a_typed_trainer_is_refused_uncalled(stranger: Stranger) -> None:
    for setting in ("callbacks=[{class_path: evil.call}]", "profiler={class_path: evil.call}",
                    "plugins=[{class_path: evil.call}]", "callbacks=[evil.Data]"):  # fmt: skip
        (stranger.folder / "evil.py").write_text(
            "from lightning.pytorch.callbacks import Callback\n"
            "from pathlib import Path\n"
            "def call() -> Callback:\n    Path('MARK').touch()\n    return Callback()\n"
            "class Data: pass\n"
        )
        _, err = stranger.here("fit", "vae/digits", f"trainer.{setting}", "--print_config", code=2)
        assert len(err.splitlines()) <= 3
        assert not stranger.marked, setting


def test_an_encoder_that_a_file_names_imports_no_plugins_networks(
    stranger: Stranger, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = stranger.folder / "lab_of_networks" / "networks"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "net.py").write_text("from pathlib import Path\nPath('MARK').touch()\n")
    monkeypatch.setenv("GENLAB_PLUGINS", "lab_of_networks")

    def change(content: dict[str, Any]) -> None:
        content["hyper_parameters"]["encoder"] = "no_such_network"

    file = stranger.forge(trained["classifier"], change)
    for words in (["test", file], ["fit", "linear/digits", f"model.pretrained={file}"]):
        assert "no_such_network" in stranger.refused(*words)
    with pytest.raises(InputError, match="no_such_network"):
        genlab.load(file)
    assert not stranger.marked
    stranger.here("fit", "classifier/digits", "model.encoder=no_such_network", code=2)
    assert stranger.marked  # the control: typed, it may be a model that a plugin registers


def test_callbacks_that_measure_are_kept_and_others_are_not() -> None:
    def callbacks(*items: Any) -> list[str]:
        stored = {"data": {"class_path": "Digits"}, "trainer": {"callbacks": list(items)}}
        found = recipes.from_config({"recipe": stored, "name": "x"}, "x").config["trainer"]
        own = recipes.resolve(["vae/digits"]).config["trainer"]["callbacks"]
        given = [yaml.safe_dump(item) for item in own]
        return [i["class_path"].rpartition(".")[2] for i in found["callbacks"]
                if yaml.safe_dump(i) not in given]  # fmt: skip

    kept = {"class_path": "PlaneMetrics", "init_args": {"count": 10}}
    assert callbacks(kept, "genlab.callbacks.online_knn.OnlineKNN") == ["PlaneMetrics", "OnlineKNN"]
    assert callbacks({"class_path": "Film", "init_args": {"file": "x.gif"}}, "evil.Watcher") == []
    assert callbacks({"class_path": "PlaneMetrics", "init_args": {"count": "evil.call"}}) == []


def test_plain_callbacks_of_lightnings_need_no_trust() -> None:
    name = "lightning.pytorch.callbacks.EarlyStopping"
    for spec in ({"class_path": "EarlyStopping"}, {"class_path": name}):
        assert recipes.foreign({"trainer": {"callbacks": [spec]}}) == set()
    other = "lightning.pytorch.callbacks.LambdaCallback"
    assert recipes.foreign({"callbacks": [{"class_path": other}]}) == {other}
