"""The journal: one sqlite file for each sweep, committed at every barrier before anyone acts on it.

MLflow, the console and `results` follow it; none of them knows anything that is not in the journal.
"""

from runner.journal.database import FILE, connect, transaction, upgrade
from runner.journal.durable_files import (
    REPORT,
    STAGING,
    move_durably,
    open_staging,
    own_file,
    put_durably,
    staging_folder,
    sync_folder,
    write_durably,
)
from runner.journal.leaderboard import SettingRecord, best_of, beyond, ranked, ranked_settings, winner_of
from runner.journal.lock import is_locked, locked
from runner.journal.reader import JournalReader
from runner.journal.tables import (
    BEST_EPOCH,
    PARAM_PREFIX,
    ROUND_PREFIX,
    SCORE,
    UNSURE,
    BarrierRow,
    MetricRow,
    Status,
    SweepRecord,
    SweepStatus,
    TrialRecord,
    TurnRow,
    epoch_key,
)
from runner.journal.trial_files import files_folder, files_of
from runner.journal.trial_logs import TrialLogs, log_name
from runner.journal.writer import SqliteJournal

__all__ = [
    "BEST_EPOCH",
    "FILE",
    "PARAM_PREFIX",
    "REPORT",
    "ROUND_PREFIX",
    "SCORE",
    "STAGING",
    "UNSURE",
    "BarrierRow",
    "JournalReader",
    "MetricRow",
    "SettingRecord",
    "SqliteJournal",
    "Status",
    "SweepRecord",
    "SweepStatus",
    "TrialLogs",
    "TrialRecord",
    "TurnRow",
    "best_of",
    "beyond",
    "connect",
    "epoch_key",
    "files_folder",
    "files_of",
    "is_locked",
    "locked",
    "log_name",
    "move_durably",
    "open_staging",
    "own_file",
    "put_durably",
    "ranked",
    "ranked_settings",
    "staging_folder",
    "sync_folder",
    "transaction",
    "upgrade",
    "winner_of",
    "write_durably",
]
