"""Many runs: axes of a sweep, a pool of processes, comparison and curves."""
