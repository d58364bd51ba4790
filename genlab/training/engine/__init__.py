"""Parts of every training.

`safe_requeue` stops at Slurm's signals, `checkpointing` writes checkpoints, `reseed` fixes random
numbers, `step_metrics` logs, `progress` reports; `sync_batch_norm`, `trimming` and `memory` adapt
Lightning and malloc.
"""
