"""Where workers live: `ray` (one actor a slot) or `local` (all in this process). Both are `seams.Fleet`."""

import os

# Read by Ray when it is imported. Undocumented, so tests watch them: a local cluster listens on loopback alone, and
# SIGTERM is left to Python (Ray would print a stack trace and abort).
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
