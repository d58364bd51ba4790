"""Arrays to pictures; matplotlib is imported here only."""
