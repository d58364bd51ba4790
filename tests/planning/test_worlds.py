"""Plans of every shipped recipe as one of 1, 8, 64 and 512 processes, a few images each."""

from __future__ import annotations

import pytest

from genlab import recipes
from genlab.planning import faults
from genlab.planning.fake import fake_step
from genlab.planning.step import Collective, Step

WORLDS = (1, 8, 64, 512)
QUICK = ("simclr/digits", "knn/digits")
SHARE = 8  # labelled images of a device, which groups of batch norm divide
LEEWAY = 1.25  # of the slope from 64 to 512 over that from 8 to 64: growth by N^2 has 8


def planned(name: str, world: int) -> Step:
    """A step with few images a device, times the recipe's accumulation."""
    plain = recipes.resolve([name])
    parts = (plain.config.get("trainer") or {}).get("accumulate_grad_batches", 1)
    share = max(SHARE, 2 * plain.arguments("model").get("bn_splits", 1))  # groups of two at least
    words = [f"data.batch_size={share * parts * world}", *left_open(plain)]
    return fake_step(recipes.resolve([name], words), world)


def left_open(plain: recipes.Recipe) -> list[str]:
    """An encoder where a recipe has none, and a queue that takes 4,096 images a step."""
    given = plain.arguments("model")
    words = ["model.encoder=resnet18"] if given.get("encoder", "") is None else []
    return words + (["model.queue_size=65536"] if "queue_size" in given else [])


def received(one: Collective) -> int:
    """Bytes that a rank gets from the others."""
    return one.bytes * (one.world if one.kind == "all_gather" else 1)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
        for name in sorted(recipes.shipped())
    ],
)
def test_a_recipe_is_planned_at_any_number_of_processes(name: str) -> None:
    steps = [planned(name, world) for world in WORLDS]
    assert [step.images for step in steps] == [steps[0].images] * len(WORLDS)
    tables = [{(c.name, c.kind): c for c in step.collectives} for step in steps[1:]]
    assert tables[0].keys() == tables[1].keys() == tables[2].keys()
    for key in tables[0]:
        one, more, most = (table[key] for table in tables)
        assert one.calls == more.calls == most.calls
        slope = (received(more) - received(one)) / (WORLDS[2] - WORLDS[1])
        assert (received(most) - received(more)) / (WORLDS[3] - WORLDS[2]) <= LEEWAY * slope


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(recipes.shipped()))
def test_a_recipe_has_no_fault_on_a_gpu(name: str) -> None:
    recipe = recipes.resolve([name], left_open(recipes.resolve([name])))
    assert faults.faults(recipe, many=False) == []
