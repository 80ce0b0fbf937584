"""Data sets as TensorFlow reads them: arrays in memory, or pipelines."""
