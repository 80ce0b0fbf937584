"""Which trials to try, and which to stop. Pure."""
