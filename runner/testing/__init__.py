"""Fakes for the interfaces of the loop. They check their input, so that tests with them can fail."""

from runner.testing.fleet import Curve, FakeFleet, falling_loss
from runner.testing.memory import MemoryJournal, MemorySnapshots, NullWatcher

__all__ = ["Curve", "FakeFleet", "MemoryJournal", "MemorySnapshots", "NullWatcher", "falling_loss"]
