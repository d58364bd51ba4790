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
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    assert not threads.wait_asleep()
    monkeypatch.delenv("GOMP_SPINCOUNT")
    assert threads.wait_asleep()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert not threads.wait_asleep()


@pytest.mark.usefixtures("unset")
def test_nothing_is_set_once_torch_has_started_its_threads() -> None:
    assert "torch" in sys.modules
    assert not threads.wait_asleep()
    assert "OMP_WAIT_POLICY" not in os.environ


def test_the_threads_of_a_command_sleep(shell: Shell) -> None:
    _, err = shell.anew("doctor", OMP_DISPLAY_ENV="true")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in err
