"""A watched folder: each file once, whatever happens; what happens is decided by the outbox alone."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import trustseg
from trustseg.errors import ConfigError, DataError, MissingFileError, MissingPackageError
from trustseg.inbox import QUARANTINE, Counts, Handle, watch

WORKER = Path(__file__).parent / "inbox_worker.py"


def work(file: Path, folder: Path) -> str:
    if b"bad" in file.read_bytes():
        raise DataError(f"{file} is bad; leave it out")
    (folder / "result.txt").write_bytes(file.read_bytes())
    return "well"


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def drain(inbox: Path, handle: Handle = work, *, outbox: str = "out") -> tuple[Counts, list[str], list[str]]:
    """Handle what is there; return the counts, the lines, and the names of the results, hashes cut off."""
    lines: list[str] = []
    out = inbox.parent / outbox
    counts = watch(inbox, out, handle, interval=0.001, once=True, stop=threading.Event(), report=lines.append)
    return counts, lines, results(out)


def results(outbox: Path) -> list[str]:
    folders = [*outbox.glob("*/"), *(outbox / QUARANTINE).glob("*/")]
    return sorted(each.name.rpartition(".")[0] for each in folders if each.name[0] != "." and each.name != QUARANTINE)


def test_good_files_get_a_folder_and_bad_ones_a_sentence(inbox: Path) -> None:
    (inbox / "a.dcm").write_text("good")
    (inbox / "reason.txt").write_text("bad")
    before = {file: file.stat() for file in inbox.iterdir()}
    counts, lines, names = drain(inbox)
    assert (counts, names) == (Counts(1, 1, 0), ["a.dcm", "reason.txt"])
    assert sorted(lines)[0] == "a.dcm: well"
    (good,) = (inbox.parent / "out").glob("a.dcm.*/")
    assert (good / "result.txt").read_text() == "good"
    (bad,) = (inbox.parent / "out" / QUARANTINE).glob("*/")
    assert (bad / "reason.txt").read_text() == "bad"
    assert (bad / "reason.txt.reason.txt").read_text() == "reason.txt is bad; leave it out\n"  # no folder
    assert {file: file.stat() for file in inbox.iterdir()} == before  # the inbox is only read


def test_what_is_done_is_not_done_again(inbox: Path) -> None:
    (inbox / "a").write_text("good")
    (inbox / "b").write_text("bad")
    assert drain(inbox)[0] == Counts(1, 1, 0)
    assert drain(inbox)[0] == Counts(0, 0, 0)
    os.utime(inbox / "a")  # sent once more
    assert drain(inbox)[0] == Counts(0, 0, 0)
    for facts in (inbox.parent / "out").rglob(".source.json"):
        facts.write_text("damaged")
    assert drain(inbox)[0] == Counts(0, 0, 0)
    (inbox / "a").write_text("good, another image under the same name")
    counts, _, names = drain(inbox)
    assert (counts, names) == (Counts(1, 0, 0), ["a", "a", "b"])
    (inbox / "b").unlink()
    assert drain(inbox)[2] == ["a", "a", "b"]
    for result in (inbox.parent / "out").glob("a.*/"):
        os.rename(result, inbox.parent / result.name)
    assert drain(inbox)[0] == Counts(1, 0, 0)  # a result that is deleted is made again


def test_files_that_are_still_written_wait(inbox: Path) -> None:
    for name in (".hidden", "a.part", "b.PARTIAL", "c.tmp", "d.crdownload"):
        (inbox / name).write_text("good")
    assert drain(inbox)[0] == Counts(0, 0, 0)
    file, taken = inbox / "grows", []
    file.write_text("go")

    class Growing(threading.Event):
        """Lets the file grow before each of the first looks."""

        def wait(self, timeout: float | None = None) -> bool:
            if len(content := file.read_text()) < 6:
                file.write_text(content + "o")
            return self.is_set()

    def handle(file: Path, folder: Path) -> str:
        taken.append(file.read_text())
        return ""

    watch(inbox, inbox.parent / "out", handle, interval=0, once=True, stop=Growing(), report=taken.append)
    assert taken == ["gooooo", "grows: "]


def test_a_file_that_changes_while_it_is_handled_is_handled_again(inbox: Path) -> None:
    (inbox / "a").write_text("first")

    def handle(file: Path, folder: Path) -> str:
        content = file.read_text()
        (folder / "result.txt").write_text(content)
        if content == "first":
            file.write_text("second, longer")
        return ""

    assert drain(inbox, handle)[0] == Counts(1, 0, 0)
    (result,) = (inbox.parent / "out").glob("a.*/result.txt")
    assert result.read_text() == "second, longer"


def test_folders_links_and_pipes_are_named_and_passed_over(inbox: Path) -> None:
    (inbox / "folder").mkdir()
    (inbox / "link").symlink_to(WORKER)
    os.mkfifo(inbox / "pipe")
    counts, lines, names = drain(inbox)
    assert (counts, names) == (Counts(0, 0, 0), [])
    assert sorted(line.partition(":")[0] for line in lines) == ["folder", "link", "pipe"]


@pytest.mark.parametrize(
    "name", ["-x", "=1", "a\nb", "a\x1b[2Jb", "über 肺.dcm", os.fsdecode(b"caf\xe9"), "l" * 255, "CR.1.2.3"]
)
@pytest.mark.parametrize("content", ["good", "bad"])
def test_every_name_is_taken(inbox: Path, name: str, content: str) -> None:
    (inbox / name).write_text(content)
    assert sum(drain(inbox)[0][:2]) == 1
    assert drain(inbox)[0] == Counts(0, 0, 0)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), MemoryError(), MissingPackageError("x"), ConfigError("y")]
)
def test_faults_of_the_machine_or_the_settings_end_the_watch_and_lose_nothing(inbox: Path, error: Exception) -> None:
    (inbox / "a").write_text("good")

    def handle(file: Path, folder: Path) -> str:
        raise error

    with pytest.raises(type(error)):
        drain(inbox, handle)
    assert results(inbox.parent / "out") == []
    assert drain(inbox)[0] == Counts(1, 0, 0)


def test_a_fault_of_ours_sets_one_file_aside(inbox: Path) -> None:
    for name in ("a", "b"):
        (inbox / name).write_text("good")

    def handle(file: Path, folder: Path) -> str:
        return f"{1 / (file.name == 'a'):g}"

    counts, lines, _ = drain(inbox, handle)
    assert counts == Counts(1, 1, 0)
    assert any("division by zero" in line and "bug" in line for line in lines)


def test_places_that_do_not_fit_get_a_sentence(inbox: Path) -> None:
    with pytest.raises(MissingFileError, match="no inbox"):
        drain(inbox / "nowhere")
    with pytest.raises(ConfigError, match="two folders"):
        drain(inbox, outbox="in")
    (inbox / "a").write_text("good")

    def second(file: Path, folder: Path) -> str:
        with pytest.raises(ConfigError, match="another process works on"):
            drain(inbox)
        return ""

    assert drain(inbox, second)[0] == Counts(1, 0, 0)


def start(inbox: Path, seconds: float, mode: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(trustseg.__file__).parents[1])}
    call = [sys.executable, str(WORKER), str(inbox), str(inbox.parent / "out"), str(seconds), mode]
    return subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=environment)


def test_killed_at_any_time_no_file_is_lost_or_doubled(inbox: Path) -> None:
    rng = random.Random(0)
    count = 0
    for _ in range(8):
        for _ in range(6):
            unfinished = inbox / f".{count}.part"
            unfinished.write_text(f"{'bad' if count % 5 == 4 else 'good'} {count}")
            unfinished.rename(inbox / f"{count}.dcm")
            count += 1
        process = start(inbox, 0.01, "forever")
        assert process.stdout is not None
        process.stdout.readline()  # the first file is done
        time.sleep(rng.random() * 0.08)
        process.kill()
        process.communicate(timeout=10)
    out, _ = start(inbox, 0, "once").communicate(timeout=30)
    assert out.splitlines()[-1].endswith(" 0")
    outbox = inbox.parent / "out"
    assert results(outbox) == sorted(f"{number}.dcm" for number in range(count))
    for number in range(count):
        (folder,) = [*outbox.glob(f"{number}.dcm.*/"), *outbox.glob(f"{QUARANTINE}/{number}.dcm.*/")]
        bad = number % 5 == 4
        assert (folder.parent.name == QUARANTINE) == bad
        texts = [f"{number}.dcm"] if bad else ["first.txt", "second.txt"]
        assert [(folder / name).read_text() for name in texts] == [f"{'bad' if bad else 'good'} {number}"] * len(texts)
    assert list(outbox.glob(".partial*")) == []


def test_a_file_that_kills_the_process_is_set_aside_in_the_end(inbox: Path) -> None:
    for name, text in (("a", "deadly"), ("b", "good")):
        (inbox / name).write_text(text)
    os.utime(inbox / "a", (0, 0))  # the oldest is taken first
    for _ in range(3):
        process = start(inbox, 0, "once")
        process.communicate(timeout=20)
        assert process.returncode == -signal.SIGKILL
    out, _ = start(inbox, 0, "once").communicate(timeout=20)
    assert out.splitlines()[-1] == "1 1 0"
    (reason,) = (inbox.parent / "out" / QUARANTINE).glob("a.*/a.reason.txt")
    assert "ended 3 times" in reason.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_file_at_hand(inbox: Path, number: int) -> None:
    for name in ("a", "b", "c"):
        (inbox / name).write_text("good")
    process = start(inbox, 0.5, "forever")
    deadline = time.monotonic() + 20
    while not list((inbox.parent / "out").glob(".partial-*/first.txt")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(number)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out.splitlines() == ["a: well", "1 0 2"]
    assert results(inbox.parent / "out") == ["a"]
