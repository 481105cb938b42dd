"""A watched inbox with a quick stand-in for a model, to be started as a process of its own and killed.

Arguments: inbox, outbox, seconds that each file takes, and ``once`` or ``forever``.
"""

import os
import signal
import sys
import time
from pathlib import Path

from trustseg.errors import DataError
from trustseg.inbox import stop_on_signals, watch


def main(inbox: str, outbox: str, seconds: str, mode: str) -> None:
    def handle(file: Path, folder: Path) -> str:
        text = file.read_text()
        (folder / "first.txt").write_text(text)
        if text == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(seconds))
        if text.startswith("bad"):
            raise DataError(f"{file} is bad")
        (folder / "second.txt").write_text(text)
        return "well"

    with stop_on_signals() as stop:
        counts = watch(
            Path(inbox),
            Path(outbox),
            handle,
            interval=0.01,
            once=mode == "once",
            stop=stop,
            report=lambda line: print(line, flush=True),
        )
    print(*counts, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
