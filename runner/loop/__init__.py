"""The core: rounds and turns, the barrier, recovery. Pure: it knows workers and the journal by interfaces."""
