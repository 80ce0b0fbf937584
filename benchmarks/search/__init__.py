"""Compares searches over grids that are trained once: `python -m benchmarks.search`."""
