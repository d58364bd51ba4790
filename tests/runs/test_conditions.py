"""Conditions on runs: what they mean, and how wrong ones are refused."""

from __future__ import annotations

from typing import Any

import pytest

from genlab.errors import RecipeError
from genlab.runs.conditions import parse, value_of

RUN: dict[str, Any] = {
    "state": "done", "step": 60, "model.lr": 0.05, "data.batch_size": 256, "model": "VAE",
    "data.augment": None, "trainer.benchmark": True, "model.hidden_dims": [128, 64],
    "val/loss": float("nan"), "started": "2026-11-05T10:00", "fingerprint": "12e4", "host": "a b",
    "size": 2_000_000_000,
}  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "step == 60", "step=60", "step!=61", "step>=60 and step<=60", "model.lr<1e-1", "size>1.9GB",
        "data.batch_size>=256 and model.lr<0.1 or state==failed",
        "state==failed or data.batch_size>=256 and model.lr<0.1",
        "not (step<60 or step>60)", "not step<60 and state==done", "not not step==60",
        "model~V*", "model=='VAE'", 'host=="a b"', "host~'a *'", "model.hidden_dims==[128,64]",
        "data.augment==null", "nothing==null", "nothing!=3", "trainer.benchmark==true",
        "started>=2026-11-01 and started<2026-12", "fingerprint==12e4", "val/loss!=1",
        "((((step==60))))",
    ],
)  # fmt: skip
def test_conditions_that_hold(text: str) -> None:
    assert parse(text).holds(RUN.get)
    assert not parse(f"not ({text})").holds(RUN.get)


@pytest.mark.parametrize(
    "text",
    [
        "step==61", "nothing>3", "nothing<3", "nothing==3", "nothing~*", "val/loss<1", "val/loss>1",
        "model<3", "trainer.benchmark==1", "fingerprint==120000", "step<60d",
        "state==failed and (data.batch_size>=256 or model.lr<0.1)",
    ],
)  # fmt: skip
def test_conditions_that_do_not_hold(text: str) -> None:
    assert parse(text).holds(RUN.get) is (text == "step<60d")


@pytest.mark.parametrize(
    ("word", "value"),
    [("7d", 604_800), ("12h", 43_200), ("1.5GB", 1.5e9), ("-1", -1), (".5", 0.5), ("1e-3", 1e-3),
     ("7x", "7x"), ("simclr/digits", "simclr/digits"), ("nan", "nan"), ("true", True),
     ("null", None), ("2026-11-01", "2026-11-01")],
)  # fmt: skip
def test_values(word: str, value: Any) -> None:
    assert value_of(word) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a key, such as state or model.lr is missing"),
        ("a", "is missing behind a"),
        ("a==", "a value to compare a with is missing"),
        ("a==1 m b==2", "and or or is missing before b"),
        ("a==1 b==2", "and or or is missing before b"),
        ("(a==1", ") is missing"),
        ("a==1)", "before )"),
        ("and", "missing before and"),
        ("a==1 and", "character 9"),
        ("a=='x", "quotation mark without its other"),
        ("a ! 1", "'!' is not part of a condition"),
        ("a==1 or or b==2", "missing before or"),
        ("__import__('os')", "missing behind __import__"),
        ("(" * 200 + "a==1", "more than 50 brackets"),
        ("not " * 200 + "a==1", "more than 50 brackets"),
        ("a==" + "x" * 20_000, "at most 10,000 characters"),
    ],
)
def test_wrong_conditions_are_refused_with_their_place(text: str, said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        parse(text)
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 3


@pytest.mark.parametrize(
    ("text", "found", "holds"),
    [
        ("key==True", True, True), ("key==TRUE", False, False), ("key!=False", True, True),
        ("key==Null", None, True), ("key==True", "true", False), ("key==True", "True", True),
        ("key=='0.1234567'", 0.1234567, True), ("key=='0.123457'", 0.1234567, False),
        ("key=='1e-05'", 1e-5, True), ("key~'0.123457*'", 0.1234567, False),
    ],
)  # fmt: skip
def test_names_in_any_case_and_every_digit(text: str, found: Any, holds: bool) -> None:
    assert parse(text).holds(lambda key: found) is holds
