"""The user's own tags: what they may be called, where they are recorded, and what an older journal makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_journal import facts, make_old, report, small_sweep

from runner.api.result import Result
from runner.config import load_config
from runner.errors import ConfigError, SweepNotFoundError
from runner.journal import JournalReader, SqliteJournal, inbox, locked
from runner.records import tag_problem
from runner.tracking.ledger import HOME, Ledger


@pytest.mark.parametrize("key", ["team", "my.ticket", "a/b", "Größe", "x y", "k" * 250])
def test_a_tag_may_be_called(key: str) -> None:
    assert tag_problem(key, "v") is None


@pytest.mark.parametrize(
    "key",
    ["", " a", "a=b", "a#b", "k" * 251, "/a", "a//b", "a/../b", "mlflow.note.content", "sweep.id", "exact", "time.x"],
)
def test_a_tag_may_not_be_called(key: str) -> None:
    assert tag_problem(key, "v") is not None


def test_config_and_command_line_take_tags() -> None:
    config = load_config("a.py", ["tracking.tags.team=vision", "tracking.tags.n=3"], config_dir=None)
    assert config.tracking.tags == {"team": "vision", "n": 3}
    with pytest.raises(ConfigError, match=r"tracking\.tags.*this program sets such a tag itself"):
        load_config("a.py", ["tracking.tags={sweep.id: 1}"], config_dir=None)


def test_tags_of_a_trial_go_before_those_of_the_sweep(tmp_path: Path) -> None:
    with small_sweep(tmp_path, "sqlite:///m.db") as journal:
        journal.tag("", {"team": "a", "n": "1"})
        journal.tag("000", {"team": "b"})
        journal.tag("", {"n": "2"})
    with JournalReader(tmp_path) as reader:
        assert reader.tags() == {"team": "a", "n": "2"}
        assert reader.tags("000") == {"team": "b", "n": "2"}


def test_a_running_sweep_is_asked_and_wrong_tags_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-1"
    small_sweep(folder, "sqlite:///m.db").end("complete")
    result = Result(folder)
    with locked(folder):
        assert (
            result.tag({"n": 1}, trial="000")
            == "tiny-1 trial 000: n=1: the sweep runs, and records it at its next barrier"
        )
    (request,) = inbox.asked(folder)
    assert (request.kind, request.trial_id, dict(request.arguments)) == ("tag", "000", {"n": "1"})
    with pytest.raises(SweepNotFoundError):
        result.tag({"n": 1}, trial="7")
    with pytest.raises(ConfigError, match="this program sets such a tag itself"):
        result.tag({"sweep.id": 1})
    with pytest.raises(ConfigError, match="looks like"):
        result.tag({"where": "ghp_" + "a1B2" * 9})


def test_an_older_journal_is_read_as_it_is_and_upgraded_by_who_writes(tmp_path: Path) -> None:
    with small_sweep(tmp_path, "sqlite:///m.db") as journal:
        journal.commit({"000": report(0, 0, epoch=1, of=facts())}, {}, {})
    make_old(tmp_path)
    with JournalReader(tmp_path) as reader:
        assert (reader.tags("000"), reader.sweep_metrics(), reader.page()) == ({}, (), None)
        assert (reader.sweep().register, reader.trial("000").epochs) == (None, 1)
    with Ledger(tmp_path, HOME) as ledger:
        assert (ledger.last_tag(), ledger.tags_due()) == (0, [])
    with SqliteJournal(tmp_path, {}) as journal:
        journal.tag("000", {"n": "1"})
    with JournalReader(tmp_path) as reader:
        assert reader.tags("000") == {"n": "1"}
