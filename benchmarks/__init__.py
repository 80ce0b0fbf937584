"""Compares the runner's speed with that of its alternatives: `make bench`. See docs/performance.md."""
