"""Slurm: submission, the shape of a launch, signals and requeueing.

Slurm's signals are handled in `signals` (the watch) and `slurm` (requeue or stop); training ends at
them in `genlab.training.engine.safe_requeue`. `submission` queues jobs, `nodes` counts their CPUs,
`jobs` lists them, `parents` tells which runs they are going to write, `launch` checks the shape of
a launch. None of them imports torch. `slurm/train.sbatch` and genlab communicate through these
environment variables:

* ``GENLAB_PYTHON``: the interpreter that jobs use; set by ``genlab submit``.
* ``GENLAB_LINES``: a file whose line i (from 0) contains the arguments of array task i, quoted as
  for a shell; a leading ``GENLAB_RUN_ID=...`` names its run.
* ``GENLAB_WARN``: seconds before the time limit at which Slurm sends SIGUSR1.
* ``GENLAB_FAILURES``: a file with a line for every failure since the last new checkpoint, and for
  every start that a time limit ended before one. Training removes it when it progresses, input
  errors write ``refused`` into it and steps that are not finite ``failed``, which end the job, and
  the script requeues while it is short. ``requeue`` in it is
  an order to the script, from a container without scontrol.
"""
