"""Parts of every training.

`safe_requeue` stops at Slurm's signals, `checkpointing` writes checkpoints, `reseed` fixes random
numbers, `epoch_metrics` keeps sums over a kill, `changed_optimizers` applies new settings to old
states, `progress` reports; `sync_batch_norm`, `trimming` and `memory` adapt Lightning and malloc.
"""
