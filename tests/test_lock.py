"""The lock names versions and hashes only: no address, and no compromised release."""

import re
from pathlib import Path

LOCK = (Path(__file__).parent.parent / "requirements.lock").read_text()


def test_the_lock_names_no_address() -> None:
    version = r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+(?: ; [^/]+)?"
    line = re.compile(rf"(?:{version}|    --hash=sha256:[0-9a-f]{{64}})(?: \\)?")
    assert [text for text in LOCK.splitlines() if not line.fullmatch(text)] == []


def test_every_requirement_has_a_hash() -> None:
    requirements = [entry for entry in re.split(r"\n(?=\S)", LOCK.strip()) if entry]
    assert len(requirements) > 50
    assert [entry for entry in requirements if "--hash=sha256:" not in entry] == []


def test_compromised_releases_are_left_out() -> None:
    versions = dict(re.findall(r"^(lightning|pytorch-lightning)==([\d.]+)", LOCK, re.MULTILINE))
    assert set(versions) == {"lightning", "pytorch-lightning"}
    assert all(tuple(map(int, version.split("."))) >= (2, 6, 6) for version in versions.values())
