"""Reads sweeps from their journals, running or finished: finds, ranks, exports."""
