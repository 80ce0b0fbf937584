"""Inputs of each kind: `--hypothesis-profile few` tries a fifth of the usual number, `thorough` tries 2,000.

No profile has a deadline, because a shared machine may be slow for a while.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("usual", deadline=None)
settings.register_profile("few", deadline=None, max_examples=20)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile("usual")  # before pytest loads the profile that the command line asks for
