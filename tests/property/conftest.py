"""`pytest tests/property --hypothesis-profile thorough` tries 2,000 inputs of each kind instead of a few."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("thorough", max_examples=2000)
