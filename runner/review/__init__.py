"""Reads sweeps from their journals, running or ended: finds, ranks, exports."""
