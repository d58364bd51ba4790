"""Slurm: submission, the launch's shape, stopping at a signal and going on after a requeue.

`submit`, `jobs`, `launch` and `signals` import no torch; `requeue` holds the Lightning callback.
What `slurm/train.sbatch` and genlab say to each other through the environment:

* ``GENLAB_PYTHON``: the interpreter that jobs use; set by ``genlab submit``.
* ``GENLAB_LINES``: a file whose line i (from 0) are the words of array task i, quoted as for a
  shell; a first word ``GENLAB_RUN_ID=...`` names its run.
* ``GENLAB_WARN``: how many seconds before the time limit Slurm sends SIGUSR1.
* ``GENLAB_FAILURES``: a file with a line for every failure since the last new checkpoint, and for
  every start that a time limit has ended before one. Training removes it when it gets on, input
  errors write ``refused`` into it, and the script requeues while it is short. ``requeue`` in it is
  an order to the script, from a container without scontrol.
"""
