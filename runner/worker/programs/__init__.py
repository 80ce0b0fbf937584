"""Training steps as compiled programs."""
