"""Send thousands of generated requests to a review's server: none may end in a 5xx, none may open a foreign file.

    python -m scripts.fuzz_review SCHEMATHESIS [EXAMPLES [SEED]]

SCHEMATHESIS is the program of an environment of its own (pip install schemathesis), EXAMPLES how many requests of each
operation it makes in each phase. The server runs in this process, logged in, so that requests reach the review itself.
"""

import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import uvicorn
from PIL import Image
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.review.given import write_gallery, write_predictions, write_run

from trustseg.review.serving import Listening, listen
from trustseg.review.state import Settings
from trustseg.review.verify import open_store, verify

CODE: Final = (".py", ".pyc", ".so")  # what Python itself opens when it imports late


class Counted:
    """An application that counts the answers of another by their code."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.codes = app, Counter[int]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.codes[message["status"]] += 1
            await send(message)

        await self.app(scope, receive, counted)


def _near(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with cases of small numbers, so that requests meet those that exist."""
    for path in schema["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "number":
                    parameter["schema"]["maximum"] = 8
    return schema


def main(program: str, examples: int = 400, seed: str = "1") -> int:
    """Print what was answered and opened; return an exit code."""
    opened: set[str] = set()
    watching = threading.Event()

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching.is_set() and event == "open" and isinstance(arguments[0], str | bytes):
            opened.add(str(arguments[0]))

    sys.addaudithook(watch)
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        folder, run = write_predictions(home / "out", size=(16, 16)), write_run(home / "run")
        with Image.open(folder / "images" / "image0.png") as image:
            write_gallery(run, {"image0": np.asarray(image)})
        with listen(folder, records=run, settings=Settings(), listening=Listening(port=0)) as server:
            schema = home / "openapi.json"
            schema.write_text(json.dumps(_near(server.app.openapi())))
            app = Counted(server.app)
            running = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
            thread = threading.Thread(target=running.run, kwargs={"sockets": [server.listening_socket]})
            thread.start()
            base, _, token = server.address.partition("/#token=")
            entered = httpx.post(f"{base}/api/session", json={"token": token}, headers={"origin": base})
            cookie = "; ".join(f"{name}={value}" for name, value in entered.cookies.items())
            headers = {"Cookie": cookie, "X-CSRF-Token": entered.json()["csrf"], "Origin": base}
            app.codes.clear()
            watching.set()
            found = subprocess.run(
                [program, "run", str(schema), "--url", base, "--checks", "not_a_server_error", "--seed", seed]
                + ["--exclude-method", "DELETE", "--max-examples", str(examples), "--suppress-health-check", "all"]
                + [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")],
                check=False,
            )
            watching.clear()
            running.should_exit = True
            thread.join()
        outside = {path for path in opened if not path.startswith(place) and not path.endswith(CODE)}
        faults = verify(open_store(folder, create=False))
        entries = len(open_store(folder, create=False).entries())
    failed = sum(count for code, count in app.codes.items() if code >= 500)
    print(
        f"{app.codes.total():,} requests: "
        + ", ".join(f"{code}: {count:,}" for code, count in sorted(app.codes.items()))
    )
    print(f"{failed} answers of 5xx; files opened outside of the folder: {sorted(outside) or 'none'}")
    print(f"{entries} entries in the log, {len(faults)} faults")
    return int(bool(failed or outside or faults or found.returncode))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:3]), *sys.argv[3:4]))
