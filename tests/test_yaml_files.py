"""YAML from outside: every text is read or refused in a sentence, in bounded time."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustseg.errors import ConfigError, MissingFileError
from trustseg.yaml_files import parse_yaml, read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 20)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 2024-01-01", {"a": "2024-01-01"}),
        ("a: 2024-13-45", {"a": "2024-13-45"}),
        ("\ufeffa: 16 # lesion: #ff0000", {"a": 16}),
        ("a: '#ff0000' # b: #ff0000\nc: \"[#ff0000]\"\n#ff0000", {"a": "#ff0000", "c": "[#ff0000]"}),
        ("a: &x {b: on}\nc: {<<: *x, d: ~}", {"a": {"b": True}, "c": {"b": True, "d": None}}),
        ("a: =", {"a": "="}),
        ("'on': '1'", {"on": "1"}),
        ("", None),
    ],
)
def test_what_is_read(text: str, value: object) -> None:
    assert parse_yaml(text, where="here") == value


@pytest.mark.parametrize(
    "text",
    [
        *("a: 0x_", "a: !!int abc", "a: !!float abc", "a: !!bool x", "a: !!int ''", "a: 010", "a: 1:30"),
        *("a: 1_0", "a: 0x10"),
        *("a: #ff0000", "a: {b: #ff0000}", "a: [1, #FF0000\n]", "a:\n  - #ff0000", "'a': #ff0000", "{a:"),
        *("a: !!set {x}", "a: !!binary x", "a: !!timestamp x", "a: !!python/name:os.system", "a: !x y", "!!str [a]: b"),
        *("1: 2", "on: 2", "? [a]\n: b", "a: 1\na: 2", "a: {b: 1, b: 2}", ": 3", "<<: 3"),
        *("a:\tb\n\t- c", "a: \0", "a: \x1b", "--- a\n--- b", "%YAML 9.0\n---\na", '"\\Uffffffff"', "a: *b"),
        *("a: &a [*a]", "a: &a {b: *a}", BOMB, "[" * 10_000, "{" * 1000, "- " * 1000, "? " * 1000),
        *("a: " + "9" * 10_000, "a: 9223372036854775808"),
    ],
    ids=lambda text: text[:20].encode("unicode_escape").decode(),
)
def test_what_is_refused(text: str) -> None:
    since = time.process_time()
    with pytest.raises(ConfigError, match=r"^here is not YAML \(") as caught:
        parse_yaml(text, where="here")
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    assert time.process_time() - since < 20


def test_the_line_is_named() -> None:
    with pytest.raises(ConfigError, match=r"line 3: the key 'a' is repeated"):
        parse_yaml("a: 1\nb: 2\na: 3\n", where="here")


@pytest.mark.parametrize("content", [b"\xff\xfea\x00", "a: 1".encode("utf-16"), b"\x89PNG", b"#" * 300_000])
def test_files_that_are_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a [1].yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"a \[1\]\.yaml"):
        read_yaml(file)
    with pytest.raises(MissingFileError, match="nowhere"):
        read_yaml(tmp_path / "nowhere")


PIECES = ["a", ": ", "- ", "\n", "  ", *"[]{},#|>?'\"", "&x ", "*x", "<<", "!!int "]
PIECES += ["0x", "1e9", "on", "\t", "\\U", "%", "---"]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_whatever_is_read_or_refused(text: str) -> None:
    """No other error leaves the reader, and in text mode every value is text."""
    for as_text in (False, True):
        try:
            value = parse_yaml(text, where="here", as_text=as_text)
        except ConfigError:
            continue
        assert not as_text or all_text(value)


def all_text(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(all_text, value.values()))
    return all(map(all_text, value)) if isinstance(value, list) else isinstance(value, str | None)
