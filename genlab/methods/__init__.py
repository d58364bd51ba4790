"""The methods: one LightningModule a file; the list of files is the list of methods."""
