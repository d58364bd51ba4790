"""``python -m tests.fuzz recipes|lines N SEED [FIRST]``: many mutants; exit code 1 if one fails."""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.fuzz.parts import part

PART = 50  # mutants in a process: memory of one is not counted for another


def main(kind: str, count: int, seed: int, first: int = 0) -> int:
    """Judge mutants ``first`` to ``first + count``; print those that fail and their causes."""
    causes: Counter[str] = Counter()
    parts = [range(k, min(k + PART, first + count)) for k in range(first, first + count, PART)]
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for answer in pool.map(part, *zip(*((kind, seed, one) for one in parts), strict=True)):
            for number, command, verdict in answer:
                causes[verdict.fault] += 1
                print(f"{number}: {verdict.fault}\n  {command}", flush=True)
                print("  " + "\n  ".join(verdict.error.strip().splitlines()[-4:]), flush=True)
    print(f"{kind}: {count} from {first}, seed {seed}: {causes.total()} failed")
    for cause, number in causes.most_common():
        print(f"{number:5d}  {cause}")
    return int(bool(causes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
