"""Standard output and error whose reader has gone end nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GOES_ON = """
import os, sys, pathlib
from runner.host.output import survive_lost_readers
survive_lost_readers()
from rich.console import Console
from rich.live import Live
import click
sys.stdin.readline()
console = Console(force_terminal={terminal})
with Live("table", console=console, auto_refresh=False) as live:
    for number in range(2000):
        click.echo("x" * 100)
        click.echo("x" * 100, err=True)
        console.print("y" * 100)
        live.update("row", refresh=True)
os.write(1, b"from C")
os.write(2, b"from C")
subprocess_is_fine = os.system("echo from a process")
pathlib.Path(sys.argv[1]).write_text(f"{{subprocess_is_fine}}")
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("terminal", [False, True])
def test_a_reader_that_ends_ends_nothing(tmp_path: Path, unbuffered: str, terminal: bool):
    done = tmp_path / "done"
    command = [sys.executable, "-c", GOES_ON.format(terminal=terminal), str(done)]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()  # as `| head` does
        process.stdin.write(b"go on\n")
        process.stdin.close()
        assert process.wait(60) == 0
    assert done.read_text(encoding="utf-8") == "0"


def test_closed_descriptors_lead_nowhere_and_no_file_takes_their_numbers(tmp_path: Path):
    code = (
        "from runner.host.output import survive_lost_readers; survive_lost_readers()\n"
        "file = open('own', 'w'); print('lost'); print(file.fileno(), file=file)"
    )
    command = f"exec '{sys.executable}' -c \"$CODE\" <&- >&- 2>&-"
    environment = {**os.environ, "CODE": code, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment, check=True, timeout=60)
    assert int((tmp_path / "own").read_text(encoding="utf-8")) > 2


def test_a_full_disk_is_still_an_error():
    code = (
        "import sys; from runner.host.output import survive_lost_readers; survive_lost_readers()\n"
        "print('x'); sys.stdout.flush()"
    )
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, check=False)
    assert ended.returncode != 0
    assert b"No space left" in ended.stderr


def test_what_c_code_writes_goes_to_a_file_and_pythons_errors_do_not(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from runner.host.output import Diverted\n"
        "with Diverted() as diverted:\n"
        "    os.write(2, b'early\\n'); diverted.keep(Path('lib.log')); os.write(2, b'late\\n')\n"
        "    print('shown', file=sys.stderr)\n"
        "os.write(2, b'after\\n')\n"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stderr == "shown\nafter\n"
    assert (tmp_path / "lib.log").read_text() == "early\nlate\n"
