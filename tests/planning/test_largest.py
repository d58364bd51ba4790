"""The largest batch that a plan names fits, and 5 % more does not: by fake steps of their own."""

from __future__ import annotations

import json
import math
import resource

import pytest

from genlab import recipes
from genlab.planning import gpus, room
from genlab.planning.capacity import need
from genlab.planning.fake import fake_step
from genlab.planning.hours import Cluster
from genlab.planning.plan import plan
from tests.conftest import Shell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
NAME, NODES, EACH, KIND = "simclr/imagenet_resnet50", 4, 8, "a100-40"
WORDS = ("--nodes", str(NODES), "--gpus-per-node", str(EACH), "--gpu", KIND, "--json")
RECIPES = {  # nodes and GPUs of each: few where else the number of training images is the limit
    NAME: (4, 8), "moco_v3/imagenet_vit_small": (4, 8), "glow/cifar10": (4, 8),
    "fixmatch/cifar10_250": (1, 2), "wgan_gp/cifar10": (1, 1), "vq_prior/cifar10": (1, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_the_largest_batch_fits_and_five_percent_more_does_not(name: str) -> None:
    recipe, gpu, (nodes, each) = recipes.resolve([name]), gpus.find(KIND), RECIPES[name]
    world, found = nodes * each, plan(recipe, Cluster(gpu, nodes, each))
    assert found.largest.limit == room.MEMORY
    assert found.largest.images >= found.batch
    more = max(found.largest.images + 1, math.ceil(1.05 * found.largest.images))
    for images, fits in (found.largest.images, True), (more, False):
        step = fake_step(room.with_batch(recipe, images * world), world)
        assert need(step).fits(gpu) == fits, (name, images, found.largest)


def test_a_plan_of_32_gpus_takes_less_than_a_minute_and_4_gib(shell: Shell) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(shell.anew("plan", NAME, *WORDS)[0])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 50  # of one core: other programs do not count, and it waits for nothing
    assert used.ru_maxrss < 4 * 2**20  # KiB
    assert (found["batch"], found["fits"], found["precision"]) == (128, True, "bf16-mixed")
    assert found["times"]["binds"] in ("arithmetic", "memory", "interconnect", "loader")


def test_1024_images_a_gpu_are_refused_with_what_makes_room(shell: Shell) -> None:
    out, _ = shell.anew("plan", NAME, "data.batch_size=32768", *WORDS, code=1)
    found = json.loads(out)
    assert (found["batch"], found["fits"]) == (1024, False)
    assert {change["settings"][0].partition("=")[0] for change in found["changes"]} == {
        "model.encoder_kwargs.grad_checkpointing", "data.image_size",
    }  # fmt: skip
