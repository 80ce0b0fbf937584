"""All that speaks to Ray: one actor for each slot."""

import os

# Ray reads them when it is imported. They are undocumented, so tests watch them: a local cluster listens on loopback
# alone, and SIGTERM is left to Python (Ray would print a stack trace and abort).
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
