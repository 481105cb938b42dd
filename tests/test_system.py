"""Locks on files hold between processes and end with them."""

import subprocess
import sys
from pathlib import Path

from trustseg.system import available_cores, try_lock

HOLDER = """
import sys
from trustseg.system import try_lock
with open(sys.argv[1], "a") as file:
    print(try_lock(file.fileno()), flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_held_until_its_process_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "True\n"
        with path.open("a") as file:
            assert not try_lock(file.fileno())
            holder.stdin.close()
            holder.wait(timeout=30)
            assert try_lock(file.fileno())


def test_there_is_a_core() -> None:
    assert available_cores() >= 1
