"""Pictures in files: scanning folders, decoding, downloading."""
