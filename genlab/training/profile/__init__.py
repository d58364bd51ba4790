"""Time of training steps, next to a bare loop over the same batches."""
