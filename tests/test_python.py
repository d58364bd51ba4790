"""genlab from Python: train, look, evaluate, and a process that is as it was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

import genlab
from genlab import checkpoints
from genlab.errors import InputError
from tests.conftest import Shell

SHORT = {"trainer.max_steps": 4, "track.wandb": "off", "data.batch_size": 32}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoints.read(run / "checkpoints" / "last.ckpt")["state_dict"]


def state() -> tuple[object, ...]:
    """What a training could change of this process."""
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    return (
        random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist(),  # noqa: NPY002
        torch.get_num_threads(), torch.get_float32_matmul_precision(), dict(os.environ), handlers,
        list(sys.path),
        signal.pthread_sigmask(signal.SIG_BLOCK, ()), torch.are_deterministic_algorithms_enabled(),
    )  # fmt: skip


def test_two_fits_give_the_bits_of_two_commands_and_leave_the_process_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    previous = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        before = state()
        first = genlab.fit("vae/digits", SHORT)
        second = genlab.fit("vae/digits", SHORT | {"model.lr": 2e-3, "seed_everything": 1})
        assert state() == before
    finally:
        signal.signal(signal.SIGTERM, previous)
    (tmp_path / "commands").mkdir()
    shell = Shell(tmp_path / "commands")
    words = [f"{key}={value}" for key, value in SHORT.items()]
    shell("fit", "vae/digits", *words)
    shell("fit", "vae/digits", *words, "model.lr=2e-3", "seed_everything=1")
    for ours, theirs in zip((first, second), shell.runs(), strict=True):
        one, two = weights(ours.path), weights(theirs)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)
    assert first.path.parent == tmp_path / "runs" / "vae" / "digits"
    assert first.metrics["step"] == 4
    assert "test/neg_elbo" in first.metrics
    assert type(first.method).__name__ == "VAE"
    assert first.method.state_dict().keys() == genlab.load(first).state_dict().keys()
    resumed = genlab.fit(resume=first, settings={"trainer.max_steps": 6})
    assert resumed.path == first.path
    assert resumed.metrics["step"] == 6
    figures = genlab.evaluate(resumed)
    assert figures["test/neg_elbo"] == pytest.approx(resumed.metrics["test/neg_elbo"], rel=1e-5)


def test_errors_are_those_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: Shell
) -> None:
    monkeypatch.chdir(tmp_path)
    for settings, word in (
        ({"model.latent_dim": "x"}, None),
        ({"model.latnt_dim": 2}, "model.latnt_dim=2"),
    ):
        with pytest.raises(genlab.InputError) as error:
            genlab.fit("vae/digits", settings)
        lines = str(error.value).splitlines()
        assert len(lines) <= 3
        if word:
            _, said = shell("fit", "vae/digits", word, code=2)
            assert [line.strip() for line in said.removeprefix("genlab: ").splitlines()] == lines
    with pytest.raises(genlab.InputError, match="vae/digits"):
        genlab.recipe("vae/digts")
    with pytest.raises(genlab.InputError, match=r"model\.lr must be a number"):
        genlab.recipe("vae/digits", {"model.lr": object()})
    assert not list(tmp_path.iterdir())


def test_several_devices_are_refused_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(genlab.InputError, match=r"genlab fit vae/digits trainer\.devices=2"):
        genlab.fit("vae/digits", {"trainer.devices": 2, "trainer.accelerator": "cpu"})
    assert not list(tmp_path.iterdir())


def test_a_recipe_is_one_mapping() -> None:
    found = genlab.recipe("vae/digits", {"model.latent_dim": 3, "model": {"kl_weight": 2.0}})
    assert found.config["model"]["init_args"]["latent_dim"] == 3
    assert found.config["model"]["init_args"]["kl_weight"] == 2.0


def test_a_script_without_a_main_guard_trains_from_any_folder(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys, genlab
        assert "torch" not in sys.modules
        run = genlab.fit("vae/digits", {"trainer.max_steps": 3, "track.wandb": "off"})
        print(run.metrics["step"], run.path.is_dir())
    """)
    (tmp_path / "script.py").write_text(program)
    keep = {k: v for k, v in os.environ.items() if not k.startswith("GENLAB_RUN")}
    root = str(Path(genlab.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True,
        env=keep | {"PYTHONPATH": root}, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "3 True"
    assert (tmp_path / "runs" / "vae" / "digits").is_dir()


def test_a_recipe_without_a_run_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^no run of vae/digits yet: genlab fit vae/digits$"):
        genlab.fit(resume="vae/digits")
