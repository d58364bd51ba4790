"""Parts of every training: checkpointing, reseeding, step metrics, progress, safe requeue."""
