from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest

from genlab import recipes
from genlab.errors import InputError, RecipeError
from genlab.planning import capacity, fake, gpus, loading, queueing
from genlab.planning.capacity import Need, need
from genlab.planning.hours import Cluster
from genlab.planning.loading import Loading
from genlab.planning.plan import Plan, plan, share
from genlab.planning.step import Collective, Step
from genlab.recipes import Recipe

MB = 10**6


def made_up(
    recipe: Recipe, world: int = 1, images: int | None = None, *, validate: bool = True
) -> Step:
    """A step of 90 MB an image."""
    batch = int(recipe.arguments("data")["batch_size"]) // world
    memory = {"parameters": 100 * MB, "activations": 90 * MB * batch}
    flops = {"encoder": 48 * 10**9 * batch, "loss": 10**6 * batch}
    exchanged = [Collective("gradients", "all_reduce", 5, 100 * MB, world),
                 Collective("embeddings", "all_gather", 2, 512 * batch, world)]  # fmt: skip
    return Step(world, batch, memory, flops, exchanged if world > 1 else [])


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "fake_step", made_up)
    monkeypatch.setattr(loading, "measure", lambda *_: Loading(500.0, "JPEG files", None))


def planned(*changes: str, nodes: int = 4, kind: str = "a100-40", **options: Any) -> Plan:
    recipe = recipes.resolve(["simclr/imagenet_resnet50"], changes)
    return plan(recipe, Cluster(gpus.find(kind), nodes, 8), **options)


@pytest.mark.usefixtures("without_torch")
def test_a_plan_has_everything_as_json() -> None:
    found = json.loads(json.dumps(planned().as_dict()))
    assert found["fits"] is True
    assert found["batch"] == 128
    assert found["need"]["total"] == sum(found["need"]["live"].values()) + sum(
        found["need"]["allowance"].values()
    )
    assert found["largest"]["images"] > 128
    assert found["changes"] == []
    assert found["times"]["binds"] == "arithmetic"
    assert found["hours"]["gpu_hours"] == pytest.approx(32 * found["hours"]["hours"])
    gradients, keys = found["step"]["collectives"]
    assert gradients["sent"] == pytest.approx(2 * 31 / 32 * 100 * MB)
    assert keys["sent"] == 31 * 512 * 128
    assert (gradients["grows"][0], keys["grows"][0]) == ("flat in N", "grows with N")
    assert found["cluster"]["gpu"]["source"].startswith("NVIDIA A100")
    assert "no GPU has run this" in found["note"]
    assert found["assumptions"]["utilisation"]["value"] == 35


@pytest.mark.usefixtures("without_torch")
def test_changes_are_looked_for_where_it_does_not_fit_or_on_request() -> None:
    large = planned("data.batch_size=32768")
    assert not large.fits
    assert [change.settings for change in large.changes]
    assert planned(make_room=True).changes


@pytest.mark.usefixtures("without_torch")
def test_few_cores_are_the_bound() -> None:
    recipe = recipes.resolve(["simclr/imagenet_resnet50"])
    slow = plan(recipe, Cluster(gpus.find("h100"), 1, 8, cores=1), images=10**6)
    assert slow.times.binds == "loader"
    assert slow.hours.images_per_second == pytest.approx(8 * 500)
    assert slow.length.images == 10**6


@pytest.mark.parametrize(
    ("changes", "words"),
    [(["data.batch_size=100"], "96 would do"), (["data.batch_size=0"], "not a number of images"),
     (["data.batch_size=2"], "32 would do")],
)  # fmt: skip
def test_a_batch_that_the_gpus_cannot_share_is_refused(changes: list[str], words: str) -> None:
    recipe = recipes.resolve(["simclr/imagenet_resnet50"], changes)
    with pytest.raises(RecipeError, match=words):
        share(recipe, 32)


@pytest.mark.usefixtures("without_torch")
def test_a_line_for_the_queue(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipes.resolve(["simclr/imagenet_resnet50"], ["data.batch_size=32768"])
    gpu = queueing.gpu_of(None, ["gpu:a100-40:8"])
    line = queueing.verdict(recipe, gpu, 4, 8)
    assert line is not None
    assert line.startswith("a GPU is going to need 9")
    assert "--nodes 4 --gpus-per-node 8 --gpu a100-40" in line
    typed = queueing.verdict(recipe, gpu, 4, 8, ["a.yaml", "data.batch_size=32768"])
    assert "genlab plan a.yaml data.batch_size=32768 --nodes 4" in str(typed)
    assert queueing.verdict(recipe, gpus.find("mi300x"), 4, 8) == ""
    assert queueing.verdict(recipe, None, 4, 8) is None
    assert queueing.verdict(recipe, gpu, 4, 0) is None

    def broken(recipe: Recipe, world: int = 1) -> Step:
        raise TypeError("no such shape")

    monkeypatch.setattr(fake, "fake_step", broken)
    assert queueing.verdict(recipe, gpu, 4, 8) is None
    assert capsys.readouterr().err == "memory is not planned: no such shape\n"
    with pytest.raises(InputError, match="did you mean a100-40"):
        queueing.gpu_of("a100")


def test_a_plan_that_takes_too_long_is_left_out_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(step: Step) -> Need:
        try:
            time.sleep(9)
        except Exception:  # as a method's own code may
            return need(step)
        raise AssertionError("no alarm")

    monkeypatch.setattr(queueing, "LIMIT", 0.05)
    monkeypatch.setattr(fake, "fake_step", made_up)
    monkeypatch.setattr(capacity, "need", slow)
    before = signal.getsignal(signal.SIGALRM)
    recipe = recipes.resolve(["simclr/imagenet_resnet50"])
    assert queueing.verdict(recipe, gpus.find("a100-40"), 4, 8) is None
    assert capsys.readouterr().err == "memory: not planned (took more than 0.05 s)\n"
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == before


@pytest.mark.slow
def test_an_alarm_in_the_midst_of_a_step_leaves_torch_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = recipes.resolve(["simclr/digits"])
    step = fake.fake_step(recipe)

    def endless(recipe: Recipe, world: int) -> Step:
        while True:
            real(recipe, world)

    real = fake.fake_step
    for limit in (0.2, 0.5, 0.9):
        with monkeypatch.context() as changed:
            changed.setattr(fake, "fake_step", endless)
            changed.setattr(queueing, "LIMIT", limit)
            assert queueing.verdict(recipe, gpus.find("a100-40"), 1, 2) is None
        assert fake.fake_step(recipe) == step
