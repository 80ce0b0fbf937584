"""The set of workers: `ray` (an actor for each slot) or `local` (this process). Both are `loop.interfaces.Fleet`."""
