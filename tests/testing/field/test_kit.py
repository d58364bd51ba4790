"""The field kit finds what is wrong on a device; its report hides nothing but names of people."""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from genlab.cli import doctor
from genlab.planning import fake
from genlab.testing import field
from genlab.testing.field import going_on, memory, report, sights, speed, steps, together, trying
from genlab.testing.field.measurement import (
    ERROR,
    FAILS,
    OK,
    Measurement,
    measured,
    skipped,
    within,
)
from tests.conftest import Here

pytestmark = pytest.mark.filterwarnings("ignore")


class Wrong(TorchDispatchMode):
    """A device on which one operation is off by a share."""

    def __init__(self, name: str, share: float) -> None:
        super().__init__()
        self.name, self.share = name, share

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        return out * (1 + self.share) if func.overloadpacket.__name__ == self.name else out


class Faulty(field.Place):
    """The CPU, as a device with a fault."""

    def __init__(self, name: str, share: float) -> None:
        super().__init__("cpu")
        self.fault = name, share

    @contextmanager
    def side(self) -> Iterator[None]:
        with super().side(), Wrong(*self.fault):
            yield


def bad(place: field.Place, check: str, subject: str) -> list[Measurement]:
    return [
        measurement
        for measurement in field.tried(place, check, subject).measurements
        if measurement.bad
    ]


@pytest.mark.parametrize(
    ("operation", "share", "check", "subject"),
    [
        ("addmm", 0.01, "parity", "Autoencoder"),
        ("convolution", 0.05, "parity", "SimCLR"),
        ("addmm", float("inf"), "half", "Autoencoder"),
        ("grid_sampler_2d", 0.01, "views", "simclr"),
        ("floor", 0.5, "views", "rand_augment"),
        ("lt", -1.0, "views", "binarize"),
        ("_upsample_bilinear2d_aa", 0.001, "views", "resize"),
        ("convolution", 0.02, "encoders", "channels_last"),
    ],
)
def test_a_wrong_operation_fails_its_check(
    operation: str, share: float, check: str, subject: str
) -> None:
    found = bad(Faulty(operation, share), check, subject)
    assert found
    assert {measurement.verdict for measurement in found} == {FAILS}
    assert not bad(field.Place("cpu"), check, subject)


def test_a_step_that_reads_a_value_fails_with_its_place() -> None:
    case = steps.case_of("Autoencoder")
    step = type(case.plain).training_step

    def reading(self: Any, batch: Any, batch_idx: int) -> Any:
        out = step(self, batch, batch_idx)
        found: Any = out
        return found if float(found["loss"]) > -1 else {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(case.plain), "training_step", reading)
        [found] = bad(field.Place("cpu"), "waits", "Autoencoder")
    assert "test_kit.py:" in found.note


def test_a_device_that_repeats_nothing_fails_to_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "backward", nudged(torch.Tensor.backward))
    [found] = bad(field.Place("cpu"), "resume", "Autoencoder")
    assert "tensors" in found.note


def nudged(backward: Any) -> Any:
    """A backward pass of a loss that is never twice the same."""
    calls = iter(range(10**9))

    def wrong(loss: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return backward(loss * (1 + 1e-4 * next(calls)), *args, **kwargs)

    return wrong


def test_a_rank_that_has_another_batch_fails() -> None:
    class Shares(field.Place):
        def ranks(self) -> Any:
            return self

        def run(self, program: Any, world: int, *given: Any) -> list[Any]:
            return [program(0, 1, *given[:2], given[2][1:] + given[2][:1], *given[3:])] * world

    [found] = bad(Shares("cpu"), "ranks", "Autoencoder")
    assert "rank" in found.note


def test_statistics_of_one_rank_alone_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    class Alone(field.Place):
        def ranks(self) -> Any:
            return self

        def run(self, program: Any, world: int, *given: Any) -> list[Any]:
            with monkeypatch.context() as patch:
                patch.setattr(together, "ROWS", together.ROWS // 2)
                return [program(0, 1, *given)] * world

    assert bad(Alone("cpu"), "sync", "batch norm")


def test_what_torch_cannot_repeat_is_skipped_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> Any:
        raise RuntimeError("cumsum_cuda_kernel does not have a deterministic implementation, but")

    monkeypatch.setattr(going_on, "fitted", refuses)
    found = field.tried(field.Place("cpu"), "resume", "Autoencoder")
    assert found.verdict == "skipped"
    assert found.measurements[0].note == "torch has no deterministic cumsum_cuda_kernel"


def test_a_check_that_breaks_hides_no_other(
    here: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def breaks(place: field.Place, subject: str) -> Iterator[Measurement]:
        """Break."""
        yield within("first", 0.0, 1.0)
        raise OSError(f"no space in {tmp_path}/mine.bin of {getpass.getuser()}")

    def goes_on(place: field.Place, subject: str) -> Iterator[Measurement]:
        """Go on."""
        yield within("not a number", float("nan"), 1.0)
        yield measured("speed", 12.5, "images/s")
        yield skipped("graphs", "a CPU has none | nowhere")

    two = {c.name: c for c in (trying.Check("b", breaks, ["x"]), trying.Check("g", goes_on, ["x"]))}
    for module in (trying, report, field):
        monkeypatch.setattr(module, "checks", lambda: two)
    out, _ = here("doctor", "--gpu", "--device", "cpu", "--out", "sent", code=1)
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["error", "b"], ["FAILS", "g"]]
    page, told = Path(lines[3]).read_text(), json.loads(Path(lines[2]).read_text())
    assert [one["check"] for one in told["checks"]] == ["b", "g"]
    found = [each for one in told["checks"] for each in one["measurements"]]
    assert [each["verdict"] for each in found] == [
        OK,
        ERROR,
        FAILS,
        "measured",
        "skipped",
    ]
    assert found[2]["value"] == "nan"
    assert "OSError: no space in … of …" in found[1]["note"]
    assert "| speed | measured | 12.5 |  | images/s |  |" in page
    assert "a CPU has none \\| nowhere" in page
    assert "No GPU took part" in page
    for text in (page, json.dumps(told)):
        assert not {str(tmp_path), socket.gethostname()} & set(text.split())
        assert f" {getpass.getuser()} " not in text
        assert str(tmp_path) not in text
    facts = told["facts"]
    assert {"device", "torch", "cuda", "genlab", "revision", "date", "count"} <= facts.keys()


def test_what_doctor_refuses(here: Here) -> None:
    assert "--device requires --gpu" in here("doctor", "--device", "cpu", code=2)[1]
    assert "parity" in here("doctor", "--gpu", "--only", "parit", code=2)[1]
    Path("taken").write_text("")
    assert "not a folder" in here("doctor", "--gpu", "--out", "taken", code=2)[1]
    if not field.found():
        assert here("doctor", "--gpu")[0].splitlines() == [doctor.NO_GPU]


def test_every_view_and_method_is_a_subject() -> None:
    pairs = field.tasks()
    assert len(set(pairs)) == len(pairs)
    assert {kind for check, kind in pairs if check == "parity"} == set(steps.kinds())
    assert set(sights.SUBJECTS) == {name for check, name in pairs if check == "views"}


def test_tensor_float_32_is_put_back_and_played_on_a_cpu() -> None:
    before = torch.get_float32_matmul_precision()
    place, a = field.Place("cpu"), torch.rand(8, 8)
    with place.tf32(False):
        exact = a @ a
    with place.tf32(True):
        apart = (a @ a - exact).abs().max() / exact.max()
    assert 1e-5 < float(apart) < 1e-3
    assert torch.get_float32_matmul_precision() == before


def test_a_batch_is_halved_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    place = field.Place("cpu")
    assert speed.load_of(place, "resnet50_224px") == speed.SMALL
    place.small = False
    for gib, batch in ((141, 128), (16, 64), (8, 32)):
        memory = SimpleNamespace(total_memory=gib * 2**30)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _, found=memory: found)
        assert speed.load_of(place, "resnet50_224px").batch == batch


def test_speed_is_measured_and_its_phases_are_all_of_it() -> None:
    found = field.tried(field.Place("cpu"), "speed", "resnet18_32px")
    rate, *phases, encoder = found.measurements
    assert found.verdict == "measured"
    assert rate.unit == "images/s"
    assert sum(one.value or 0 for one in phases) == pytest.approx(1.0, abs=0.05)
    assert (encoder.value or 0) > 0


@pytest.mark.parametrize(("share", "verdict"), [(1.05, OK), (1.3, FAILS), (0.7, FAILS)])
def test_memory_that_is_not_planned_fails(
    share: float, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = SimpleNamespace(peak=1000 * memory.MIB)
    monkeypatch.setattr(fake, "fake_step", lambda recipe: planned)
    monkeypatch.setattr(memory, "_peak", lambda place, recipe: int(share * planned.peak))
    found = field.tried(field.Place("cpu"), "memory", "glow/digits")
    assert [one.verdict for one in found.measurements] == ["measured", "measured", verdict]
    assert found.measurements[0].value == 1000


def test_memory_is_read_after_the_second_step(monkeypatch: pytest.MonkeyPatch) -> None:
    place, calls = field.Place("cpu"), list[str]()
    watch: Any = memory.Peak(place)
    watch.on_train_batch_end(None, None)
    assert watch.found is None
    place.small = False
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: calls.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 7)
    for _ in range(3):
        watch.on_train_batch_end(None, None)
    assert calls == ["reset"]
    assert watch.found == 7
