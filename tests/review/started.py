"""The command as people start it, in a process of its own."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def start(folder: Path, *options: str | Path) -> tuple[subprocess.Popen[str], str]:
    """Return a process of ``trustseg review`` and the address that it prints."""
    command = [sys.executable, "-m", "trustseg", "review", str(folder), "--port", "0", *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if found := re.search(r"open (http\S+)", line):
            return process, found[1]
    process.communicate()
    raise AssertionError(said)


@contextmanager
def started(folder: Path, *options: str | Path) -> Iterator[str]:
    """Yield the address of a server that is ended as by Ctrl-C, and has to end well."""
    process, address = start(folder, *options)
    try:
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, "")
