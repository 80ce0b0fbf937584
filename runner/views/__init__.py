"""Shows sweeps to a person in a terminal."""
