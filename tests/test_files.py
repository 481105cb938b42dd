import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trustseg.errors import DataError, MissingFileError
from trustseg.files import private_log, read_json, replacing, write_json, write_text


def test_a_write_gives_the_whole_file_or_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "about.json"
    write_json(file, {"name": "Lungenentzündung", "count": 3})
    with pytest.raises(OSError, match="full"), replacing(file) as temporary:  # noqa: PT012 - the block is the subject
        temporary.write_text("ne")
        raise OSError("disk full")
    assert read_json(file) == {"name": "Lungenentzündung", "count": 3}
    assert list(file.parent.iterdir()) == [file]


def test_an_error_names_the_file_that_was_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "result.txt"

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left") as found:
            write_text(file, "new")
    assert found.value.filename == str(file)
    (tmp_path / "result.txt").mkdir()
    with pytest.raises(IsADirectoryError) as found:
        write_text(file, "new")
    assert found.value.filename == str(file)
    with pytest.raises(FileNotFoundError) as found, replacing(tmp_path / "copy.txt"):
        (tmp_path / "other.txt").read_text()
    assert found.value.filename == str(tmp_path / "other.txt")


def test_nothing_is_seen_under_the_name_before_the_end(tmp_path: Path) -> None:
    file = tmp_path / "result.txt"
    with replacing(file) as temporary:
        temporary.write_text("half")
        assert not file.exists()
        assert temporary.parent == file.parent  # a rename within one file system is atomic
        assert str(os.getpid()) in temporary.name  # two processes do not write to the same file
    assert file.read_text() == "half"


def test_what_killed_processes_left_is_removed_and_what_is_written_is_not(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from trustseg.files import replacing\n"
    code += "with replacing(Path(sys.argv[1])): os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "other.txt")], check=False)
    assert len(list(tmp_path.glob("*.partial"))) == 1
    with replacing(tmp_path / "result.txt") as temporary:
        assert list(tmp_path.glob("*.partial")) == [temporary]
        code = "import sys; from pathlib import Path; from trustseg.files import write_text\n"
        code += "write_text(Path(sys.argv[1]), 'x')"
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "other.txt")], check=True)
        assert list(tmp_path.glob("*.partial")) == [temporary]
        temporary.write_text("whole")
    assert (tmp_path / "result.txt").read_text() == "whole"


def test_private_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        with replacing(tmp_path / "study" / "cells" / "records.parquet") as temporary:
            temporary.write_bytes(b"x")
    finally:
        os.umask(former)
    made = [tmp_path / "study", tmp_path / "study" / "cells", tmp_path / "study" / "cells" / "records.parquet"]
    assert [file.stat().st_mode & 0o777 for file in made] == [0o700, 0o700, 0o600]
    (tmp_path / "workers.log").touch(mode=0o644)
    with private_log(tmp_path / "workers.log") as log:
        log.write(b"x")
    assert (tmp_path / "workers.log").stat().st_mode & 0o777 == 0o600


def test_a_json_file_that_is_damaged_or_missing_gets_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "done.json"
    with pytest.raises(MissingFileError, match=r"no JSON file .*done\.json"):
        read_json(file)
    with pytest.raises(MissingFileError, match="is a folder"):
        read_json(tmp_path)
    for content in (b"", b"{", b'{"a": 1', b"\xff\xfe", b"[1]", b"3"):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"done\.json.*restore it"):
            read_json(file)
