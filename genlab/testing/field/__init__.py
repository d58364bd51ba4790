"""The field kit: checks of genlab on a GPU, and the report that they make.

`trying` has all checks and tries each by itself on a `place`: `steps` of every method, `going_on`
(resumed trainings), `together` (several processes), `sights` (views), `encoding` (compiled
encoders), `memory` (next to a plan's), `speed`. Each makes some of `measurement`, and `report`
writes them, without names of its user (`hiding`). `products` switches or plays TensorFloat-32.
"""

from genlab.testing.field.measurement import Measurement
from genlab.testing.field.place import Place, found
from genlab.testing.field.report import write
from genlab.testing.field.trying import Result, checks, run, tasks, tried

__all__ = ["Measurement", "Place", "Result", "checks", "found", "run", "tasks", "tried", "write"]
