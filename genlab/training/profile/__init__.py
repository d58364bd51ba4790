"""Time of training steps, beside a bare loop over the same batches."""
