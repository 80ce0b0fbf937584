"""The check of an experiment as a person reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from io import StringIO

from rich.console import Console
from rich.table import Table

from runner.records import Examined, SettingCheck, Split

_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PROGRAMS = {
    "round": "compiled loop over arrays in memory",
    "stream": "compiled loop over a tf.data pipeline",
    "plain": "one call for each step",
}


def on_a_screen(text: str) -> str:
    """What a terminal would have left of a text: without its codes and what was written over, as by a bar of Keras'."""
    lines = _TERMINAL_CODES.sub("", text).rstrip("\n").replace("\r\n", "\n").split("\n")
    return "\n".join(re.split(r"[\r\b]+", line.rstrip("\r\b"))[-1] for line in lines)


def as_text(check: Examined, width: int = 120) -> str:
    """What `print_examined` prints, without colours.

    Args:
        check: the check.
        width: characters of a line.
    """
    text = StringIO()
    print_examined(check, Console(file=text, width=width))
    return text.getvalue().rstrip("\n")


def print_examined(check: Examined, console: Console) -> None:
    """Prints a table for each setting that was tried, then what is worth a warning."""
    for setting in check.checked:
        title = " ".join(f"{name}={value}" for name, value in setting.searched.items())
        console.print(f"{setting.member} {title}".rstrip(), style="bold", markup=False, soft_wrap=True)
        table = Table(box=None, show_header=False, padding=(0, 1))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, text in _rows(setting):
            table.add_row(name, text)
        console.print(table, markup=False)
    for text in check.warnings:
        console.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)
    trials = f"{check.trials} trial{'s' * (check.trials > 1)}"
    console.print(
        f"a sweep would train {trials}, ranked by {check.metric} ({check.goal}); checked in {check.seconds:.1f} s, "
        "nothing was recorded",
        markup=False,
        soft_wrap=True,
    )


def _rows(setting: SettingCheck) -> Iterator[tuple[str, str]]:
    details = setting.details
    yield "parameters", " ".join(f"{name}={value!r}" for name, value in setting.settings.items()) or "none"
    for split in details.splits:
        yield split.name, _split(split)
    yield "model", f"{details.model}, {setting.parameters:,} weights"
    yield "compiled", ", ".join(filter(None, (details.optimizer or "no optimizer", details.loss or "no loss")))
    yield "first step", _metrics({**details.values, **setting.test_metrics})
    reason = f": {setting.program_reason}" if setting.program == "plain" else ""
    yield (
        "program",
        f"{setting.program}, {_PROGRAMS[setting.program]}{reason}; {setting.steps_per_epoch} steps an epoch",
    )
    yield "speed", _speed(setting)
    yield "memory", f"{setting.memory_mib:,.0f} MiB at its peak"
    yield "repeatable", "bit for bit, on this machine" if not setting.inexact else f"perhaps not: {setting.inexact}"
    yield "export", _export(setting)
    if setting.output:
        yield "printed", on_a_screen(setting.output)


def _split(split: Split) -> str:
    parts = ", ".join(
        f"{tensor.name} {tensor.dtype} [{', '.join(['rows', *('?' if n < 0 else str(n) for n in tensor.shape[1:])])}]"
        for tensor in split.tensors
    )
    if split.rows is not None:
        return f"{split.rows:,} rows: {parts}"
    length = "of unknown length" if split.batches is None else f"of {split.batches:,} batches"
    return f"a pipeline {length}: {parts}"


def _metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def _speed(setting: SettingCheck) -> str:
    speeds = ", ".join(f"{speed:,.0f} steps/s ({how})" for how, speed in setting.steps_per_s.items())
    return f"{speeds}; this sweep would use {setting.compile}"


def _export(setting: SettingCheck) -> str:
    if setting.model_bytes is not None:
        return f"model.keras, {_size(setting.model_bytes)}, loaded by plain Keras"
    own = ", ".join(f"{name} ({place})" if place else name for name, place in setting.own_parts.items())
    reason = f"plain Keras lacks {own}" if own else "Keras cannot load the file that it saves"
    return f"weights, {_size(setting.weights_bytes)}, and rebuild.py, because {reason}"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"
