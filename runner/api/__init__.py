"""The program as a library: sweeps and their results for Python programs."""
