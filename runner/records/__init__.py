"""Frozen records that cross module borders. Plain data: a driver, a worker and a journal read them alike."""

from runner.records.answers import (
    Checked,
    Export,
    Facts,
    Failure,
    FailureKind,
    ProgramKind,
    Report,
    Signature,
    Snapshot,
    Tensor,
    Turn,
)
from runner.records.orders import Incident, Replay, Verdict, VerdictKind, Work
from runner.records.slot import Allocation, Slot
from runner.records.trial import (
    EarlyStopping,
    Goal,
    Metrics,
    Mode,
    Params,
    ReduceLROnPlateau,
    Source,
    TrainSettings,
    Trial,
    to_json,
)
from runner.records.values import decode, encode

__all__ = [
    "Allocation",
    "Checked",
    "EarlyStopping",
    "Export",
    "Facts",
    "Failure",
    "FailureKind",
    "Goal",
    "Incident",
    "Metrics",
    "Mode",
    "Params",
    "ProgramKind",
    "ReduceLROnPlateau",
    "Replay",
    "Report",
    "Signature",
    "Slot",
    "Snapshot",
    "Source",
    "Tensor",
    "TrainSettings",
    "Trial",
    "Turn",
    "Verdict",
    "VerdictKind",
    "Work",
    "decode",
    "encode",
    "to_json",
]
