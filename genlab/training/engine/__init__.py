"""Parts of every training.

`safe_requeue` stops at Slurm's signals, `checkpointing` writes checkpoints, `reseed` fixes random
numbers, `epoch_metrics` keeps sums over a kill, `changed_optimizers` applies new settings to old
states, `early_stops` a new patience, `progress` reports, `peers` names a process that has ended.
`finite` stops at steps that are not finite: `before_window` undoes them by a `snapshot`, a
`verdict` waits on the device, a `failure` is what is known, a `capture` what is written,
`first_tensor` looks for the cause. `links` keeps states
at a `boundary` of steps, with the facts of the `machine`, for `genlab verify`. `sync_batch_norm`,
`trimming`, `memory` and `threads` adapt Lightning, malloc and OpenMP.
"""
