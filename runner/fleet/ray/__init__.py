"""Fleet on Ray: an actor for each slot, and all other code that calls Ray."""

import os

# Ray reads these when it is imported. They are undocumented, so tests check their effects: a local cluster listens only
# on loopback, and Python handles SIGTERM (Ray would print a stack trace and abort).
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
