"""Shows a sweep to a person in a terminal."""
