"""The log of a review: what was acknowledged is there once, whatever happened; no change of it stays unseen."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from trustseg.errors import DataError, MissingFileError
from trustseg.review.chain import GENESIS, HEADS, Head, chain_faults, head_faults, read_heads
from trustseg.review.storage import DATABASE, Draft, RepeatedKeyError, Store

WRITER = """
import sys
from pathlib import Path
from trustseg.review.storage import Draft, Store

store = Store(Path(sys.argv[1]))
start = int(sys.argv[2])
for number in range(start, start + 10_000):
    for _ in range(2):  # a client that asks again must not double an entry
        entry = store.append(Draft(f"key-{number}", "reader", "decision", 1, {"n": number}, b"mask %d" % number))
    print(number, entry.number, flush=True)
"""


def filled(folder: Path, count: int = 6) -> Store:
    store = Store(folder)
    for number in range(count):
        store.append(Draft(f"key-{number}", "reader", "decision", number, {"text": "ä\n", "seconds": 0.5 * number}))
    return store


def faults(folder: Path) -> list[str]:
    store = Store(folder, create=False)
    entries = store.entries()
    found = [*store.faults(), *chain_faults(entries), *head_faults(entries, read_heads(folder))]
    store.close()
    return found


def edited(folder: Path, *statements: str) -> None:
    """Change the database as somebody would who owns the file."""
    connection = sqlite3.connect(folder / DATABASE, isolation_level=None)
    triggers = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
    for statement in [*(f"DROP TRIGGER {name}" for name in triggers), *statements]:
        connection.execute(statement)
    connection.close()


def test_entries_come_back_in_order_and_are_chained(tmp_path: Path) -> None:
    store = filled(tmp_path)
    entries = store.entries()
    assert [entry.number for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert [entry.previous for entry in entries] == [GENESIS, *(entry.hash for entry in entries[:-1])]
    assert entries[3].content == {"text": "ä\n", "seconds": 1.5}
    assert store.entries(after=4) == entries[4:]
    assert read_heads(tmp_path) == [Head(entry.number, entry.hash) for entry in entries]
    assert store.head() == read_heads(tmp_path)[-1]
    assert faults(tmp_path) == []


def test_the_same_key_is_one_entry_and_what_a_check_refuses_is_not_written(tmp_path: Path) -> None:
    store = filled(tmp_path)
    draft = Draft("key-2", "reader", "decision", 2, {"text": "ä\n", "seconds": 1.0})
    assert store.append(draft) == store.entries()[2]
    with pytest.raises(RepeatedKeyError):
        store.append(draft._replace(content={"text": "b"}))

    def refuse() -> None:
        assert len(store.entries()) == 6  # reads inside the transaction
        raise DataError("not now")

    with pytest.raises(DataError, match="not now"):
        store.append(Draft("new", "reader", "decision", 1, {}, b"mask"), check=refuse)
    assert len(store.entries()) == 6
    assert store.mask_names() == []


EDITS = [
    ["UPDATE log SET content = replace(content, '1.5', '1.6') WHERE number = 4"],
    ["UPDATE log SET content = replace(content, ':', ': ') WHERE number = 4"],
    ["UPDATE log SET content = 'null' WHERE number = 4"],
    ["UPDATE log SET content = '{' WHERE number = 4"],
    ["UPDATE log SET reviewer = 'other' WHERE number = 1"],
    ["UPDATE log SET time = '2020' WHERE number = 6"],
    ['UPDATE log SET "case" = NULL WHERE number = 2'],
    ["UPDATE log SET key = 'k' WHERE number = 2"],
    ["UPDATE log SET kind = 'stop' WHERE number = 2"],
    ["UPDATE log SET hash = 'x' WHERE number = 6"],
    ["UPDATE log SET previous = 'x' WHERE number = 1"],
    ["DELETE FROM log WHERE number = 1"],
    ["DELETE FROM log WHERE number = 3"],
    ["DELETE FROM log WHERE number = 6"],
    ["DELETE FROM log WHERE number > 2"],
    ["DELETE FROM log"],
    ["UPDATE log SET number = 9 WHERE number = 2", "UPDATE log SET number = 2 WHERE number = 3"],
    ["UPDATE log SET number = -number", "UPDATE log SET number = 7 + number"],
    [f"INSERT INTO log VALUES (7, 'k', 't', 'r', 'decision', 1, '{{}}', '{GENESIS}', 'h')"],
]


def test_every_edit_deletion_and_reordering_is_found(tmp_path: Path) -> None:
    filled(tmp_path / "whole").close()
    assert faults(tmp_path / "whole") == []
    for number, statements in enumerate(EDITS):
        folder = Path(shutil.copytree(tmp_path / "whole", tmp_path / str(number)))
        edited(folder, *statements)
        assert faults(folder) != [], statements


def test_a_chain_computed_anew_is_found_by_the_heads_kept_apart(tmp_path: Path) -> None:
    for name in ("true", "false"):
        filled(tmp_path / name).close()
    shutil.copy(tmp_path / "false" / DATABASE, tmp_path / "true" / DATABASE)
    found = faults(tmp_path / "true")
    assert found
    assert all("whose hash was kept" in fault for fault in found)


def test_entries_cannot_be_changed_through_the_database_itself(tmp_path: Path) -> None:
    filled(tmp_path).close()
    connection = sqlite3.connect(tmp_path / DATABASE)
    for statement in ("UPDATE log SET reviewer = 'x'", "DELETE FROM log"):
        with pytest.raises(sqlite3.IntegrityError, match="only grows"):
            connection.execute(statement)
    connection.close()


def test_a_crash_between_entry_and_head_is_repaired(tmp_path: Path) -> None:
    filled(tmp_path).close()
    text = (tmp_path / HEADS).read_text()
    (tmp_path / HEADS).write_text(text[:-90])  # the last line and a part of the one before
    assert len(read_heads(tmp_path)) == 4
    assert faults(tmp_path) == []
    Store(tmp_path).close()
    assert (tmp_path / HEADS).read_text() == text


def test_nothing_is_written_once_the_heads_are_gone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert (tmp_path / HEADS).read_text() == ""  # there before the first entry
    store.append(Draft("first", "reader", "decision", 1, {}))
    (tmp_path / HEADS).unlink()
    with pytest.raises(DataError, match=HEADS):
        store.append(Draft("second", "reader", "decision", 1, {}))
    assert len(store.entries()) == 1
    with pytest.raises(DataError, match=HEADS):
        Store(tmp_path)


def test_threads_and_processes_write_one_chain(tmp_path: Path) -> None:
    stores = [Store(tmp_path), Store(tmp_path)]  # two connections, as of two processes

    def write(worker: int) -> None:
        for number in range(15):
            stores[worker % 2].append(Draft(f"{worker}-{number}", "reader", "decision", 1, {"n": number}))

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores[0].entries()) == 60
    assert faults(tmp_path) == []


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_kill_9_loses_nothing_acknowledged_and_doubles_nothing(tmp_path: Path, kills: int) -> None:
    rng = random.Random(kills)
    promised: dict[int, int] = {}
    for _ in range(kills):
        # The first key is the one that was not acknowledged: it is sent again, whether or not it was written.
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(max(promised, default=-1) + 1)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = [process.stdout.readline()]  # it runs
        timer = threading.Timer(rng.uniform(0, 0.15), process.send_signal, [signal.SIGKILL])
        timer.start()
        lines += process.stdout.readlines()
        process.wait()
        timer.join()
        process.stdout.close()
        whole = [line.split() for line in lines if line.endswith("\n")]
        promised |= {int(number): int(entry) for number, entry in whole}
    store = Store(tmp_path)
    entries = store.entries()
    written = [entry.content["n"] for entry in entries]
    assert len(written) == len(set(written))
    assert {number: written.index(number) + 1 for number in promised} == promised
    assert len(entries) - len(promised) <= 1  # what was under way is asked for again by the next process
    assert len(store.mask_names()) == len(entries)
    assert faults(tmp_path) == []


def test_unusable_databases_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="trustseg review"):
        Store(tmp_path, create=False)
    for name in ("newer", "dropped", "broken"):
        filled(tmp_path / name).close()
    edited(tmp_path / "newer", "PRAGMA user_version = 99")
    edited(tmp_path / "dropped", "DROP TABLE log")
    (tmp_path / "broken" / DATABASE).write_bytes(b"no database" * 500)
    for name, words in (("newer", "newer"), ("dropped", "damaged .* restore a backup"), ("broken", "damaged")):
        with pytest.raises(DataError, match=f"{DATABASE}.*{words}"):
            Store(tmp_path / name, create=False).entries()
