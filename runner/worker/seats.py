"""The seats of a worker's trials, one of which trains while the others wait."""

from __future__ import annotations

import itertools
from collections.abc import Collection

from runner.worker.seat import Seat

_MIB = 1024 * 1024


class Seats:
    """The seats of the trials in this process.

    The states of trials that wait stay where they are, on the device: an exchange then moves no data. What exceeds
    their part of a GPU's memory waits in host memory, so that the trial that trains has the part that was measured.

    Args:
        waiting_mib: GPU memory that the states of waiting trials may take, MiB; None for no limit.
    """

    def __init__(self, waiting_mib: int | None = None) -> None:
        self._waiting_mib = waiting_mib
        self._seats: dict[str, Seat] = {}

    def __contains__(self, trial_id: object) -> bool:
        return trial_id in self._seats

    def __getitem__(self, trial_id: str) -> Seat:
        return self._seats[trial_id]

    def add(self, seat: Seat) -> Seat:
        """Adds the seat of a trial that has none, and returns it."""
        self._seats[seat.trial.id] = seat
        return seat

    def leave(self, trial_id: str) -> None:
        """Gives up a trial's seat, if it has one."""
        if trial_id in self._seats:
            self._seats.pop(trial_id).leave()

    def keep(self, trial_ids: Collection[str]) -> None:
        """Gives up the seats of all other trials."""
        for trial_id in self._seats.keys() - set(trial_ids):
            self.leave(trial_id)

    def make_room(self, trial_id: str) -> None:
        """Frees GPU memory for this trial, which is about to use the device: as far as others exceed their part."""
        if self._waiting_mib is None:
            return
        waiting = [seat for seat in self._seats.values() if seat.trial.id != trial_id]
        sizes = itertools.accumulate(seat.engine.nbytes for seat in waiting)
        for seat, size in zip(waiting, sizes, strict=True):  # the later ones, which are the same at every turn
            if size > self._waiting_mib * _MIB:
                seat.free_device()

    def alone(self, trial_id: str) -> Seat:
        """The trial's seat, with room for it on the device."""
        self.make_room(trial_id)
        return self._seats[trial_id]
