"""Fixed sets of permutations, far from each other, and the same in every run.

The distance of two permutations is the number of places at which they differ. The published sets
of jigsaw puzzles maximise its mean, which any random set nearly does, and hold near-twins:
Noroozi's 100 have two that differ at 2 of 9 places. Sets here maximise the smallest distance.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np

Rows = tuple[tuple[int, ...], ...]
CUBE = 0b1011  # x^3 = x + 1 makes the field of eight
SETS = {2: "4, 12 or 24", 3: "9, 72, 504 or 2 to 1,000"}  # grid -> numbers of permutations


@lru_cache
def permutation_set(grid: int, count: int) -> Rows:
    """``count`` permutations of the ``grid`` x ``grid`` tiles, the identity first.

    ====== ======= ======== ==================================================
    grid   count   distance set
    ====== ======= ======== ==================================================
    2      4       4        translations of the field of four
    2      12      3        even permutations
    2      24      2        all
    3      9       9        cyclic shifts
    3      72      8        z -> m z + t over the field of nine
    3      504     7        fractional linear maps of the line over eight
    3      others  6 of 100 greedy: the next is farthest from those before it
    ====== ======= ======== ==================================================

    Raises:
        ValueError: no such set.
    """
    if grid == 2 and count in (4, 12, 24):
        return _of_four(count)
    if grid == 3 and count in EXACT:
        return EXACT[count]()
    if grid == 3 and 2 <= count <= 1000:
        return _greedy(count)
    numbers = SETS.get(grid, "none")
    raise ValueError(f"permutations {count} of {grid} x {grid} tiles: choose {numbers}")


def smallest_distance(rows: Rows) -> int:
    """The smallest number of places at which two of the permutations differ."""
    table = np.array(rows)
    apart = (table[:, None] != table[None]).sum(2)
    return int(apart[~np.eye(len(table), dtype=bool)].min())


def _of_four(count: int) -> Rows:
    every = itertools.permutations(range(4))
    if count == 4:
        return tuple(tuple(z ^ t for z in range(4)) for t in range(4))
    return tuple(row for row in every if count == 24 or _even(row))


def _even(row: tuple[int, ...]) -> bool:
    return sum(a > b for a, b in itertools.combinations(row, 2)) % 2 == 0


def _cyclic() -> Rows:
    return tuple(tuple((z + t) % 9 for z in range(9)) for t in range(9))


def _affine() -> Rows:
    """Z -> m z + t; an element a + b i of the field of nine, i^2 = -1, is the number a + 3 b."""
    return tuple(
        tuple(_sum9(_product9(m, z), t) for z in range(9)) for m in range(1, 9) for t in range(9)
    )


def _product9(x: int, y: int) -> int:
    (b, a), (d, c) = divmod(x, 3), divmod(y, 3)
    return (a * c - b * d) % 3 + 3 * ((a * d + b * c) % 3)


def _sum9(x: int, y: int) -> int:
    (b, a), (d, c) = divmod(x, 3), divmod(y, 3)
    return (a + c) % 3 + 3 * ((b + d) % 3)


def _fractional() -> Rows:
    """Z -> (a z + b) / (c z + d) of the field of eight and infinity, which is 8; sorted."""
    found = set()
    for a, b, c, d in itertools.product(range(8), repeat=4):
        if _product8(a, d) != _product8(b, c):
            values = [_quotient8(_product8(a, z) ^ b, _product8(c, z) ^ d) for z in range(8)]
            found.add((*values, _quotient8(a, c)))
    return tuple(sorted(found))


def _product8(x: int, y: int) -> int:
    total = 0
    for k in range(3):
        total ^= (x << k) * (y >> k & 1)
    for k in (4, 3):
        total ^= (CUBE << k - 3) * (total >> k & 1)
    return total


def _quotient8(x: int, y: int) -> int:
    return next(z for z in range(8) if _product8(z, y) == x) if y else 8


def _greedy(count: int) -> Rows:
    """The next has the largest smallest distance; ties by the sum of distances, then by order."""
    every = np.array(list(itertools.permutations(range(9))), dtype=np.int8)
    least, total = np.full(len(every), 9), np.zeros(len(every), dtype=np.int64)
    chosen = [0]
    while len(chosen) < count:
        apart = (every != every[chosen[-1]]).sum(1)
        least, total = np.minimum(least, apart), total + apart
        chosen.append(int((least * 10_000 * 9 + total).argmax()))
    return tuple(tuple(int(z) for z in every[row]) for row in chosen)


EXACT = {9: _cyclic, 72: _affine, 504: _fractional}
