from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genlab.planning.counting import Counting

ONE = 4 * 6  # bytes of (2, 3) floats


def counted(work: Callable[..., object], *tensors: Tensor) -> Counting:
    with Counting() as count:
        work(*tensors)
    return count


def test_an_operation_reads_and_writes_once() -> None:
    a, b = torch.ones(2, 3), torch.ones(2, 3)
    done = counted(lambda x, y: (x + y).mul_(2), a, b).kernels
    assert (done.started, done.moved) == (2, 3 * ONE + 2 * ONE)


def test_views_and_new_memory_cost_nothing() -> None:
    done = counted(lambda x: (x.t(), x.view(6)[1:], x.detach(), torch.empty(9)), torch.ones(2, 3))
    assert (done.kernels.started, done.kernels.moved) == (0, 0)


def test_an_expanded_tensor_is_read_as_it_lies_in_memory() -> None:
    done = counted(lambda x: x.expand(1000, 3) * 1.0, torch.ones(1, 3)).kernels
    assert done.moved == 4 * 3 + 4 * 3000


def test_convolutions_are_told_from_matrix_products() -> None:
    def work(image: Tensor, weight: Tensor, matrix: Tensor) -> None:
        torch.conv2d(image, weight)
        torch.mm(matrix, matrix)

    count = counted(work, torch.ones(1, 2, 4, 4), torch.ones(3, 2, 1, 1), torch.ones(3, 3))
    assert count.kernels.convolved == 2 * 16 * 3 * 2
    assert sum(count.flops.values()) - count.kernels.convolved == 2 * 27
    count.reset()
    assert (count.kernels.started, count.kernels.moved, count.kernels.convolved) == (0, 0, 0)
