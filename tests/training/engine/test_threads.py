"""Idle threads of a command sleep: on a shared machine spinning ones take the core of a step."""

from __future__ import annotations

import os
import sys

import pytest

from genlab.training.engine import threads
from tests.conftest import Shell


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in threads.GIVEN:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("unset")
def test_the_environment_of_a_user_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert not threads.spin_briefly()
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert threads.spin_briefly()
    assert os.environ["GOMP_SPINCOUNT"] == str(threads.SPINS)
    assert not threads.spin_briefly()


@pytest.mark.usefixtures("unset")
def test_nothing_is_set_once_torch_has_started_its_threads() -> None:
    assert "torch" in sys.modules
    assert not threads.spin_briefly()
    assert "GOMP_SPINCOUNT" not in os.environ


def test_the_threads_of_a_command_sleep(shell: Shell) -> None:
    _, err = shell.anew("doctor", OMP_DISPLAY_ENV="verbose")
    assert f"GOMP_SPINCOUNT = '{threads.SPINS}'" in err
