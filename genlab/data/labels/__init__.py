"""Few labels: which images are labelled, and loaders of labelled and unlabelled streams."""
