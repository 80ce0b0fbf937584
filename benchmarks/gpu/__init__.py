"""Models that share a GPU: every way to train them, measured within a given time. `python -m benchmarks.gpu --help`."""
