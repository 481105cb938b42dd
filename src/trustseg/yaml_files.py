"""YAML from outside: plain values only, in bounded time and memory; whatever else is refused in a sentence."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

import yaml

from trustseg.errors import ConfigError, MissingFileError
from trustseg.text import printable

__all__ = ["parse_yaml", "read_yaml"]

_LARGEST: Final = 200_000  # characters of a file, and of what its aliases stand for; ours have 5,000
_DEEPEST: Final = 40
_TAG: Final = "tag:yaml.org,2002:"
_KINDS: Final = frozenset(_TAG + kind for kind in ("str", "int", "float", "bool", "null", "seq", "map", "merge"))
_DECIMAL: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")  # in YAML 1.1, 010 is eight, 1:30 is ninety, 1_0 is ten
_COLOUR: Final = re.compile(r"^[^#\n]*[-:,\[{][ \t]*(#[0-9A-Fa-f]{6})\b", re.MULTILINE)  # a comment to YAML


def read_yaml(path: Path) -> object:
    """Return what a YAML file holds.

    Dates are texts, and every key is one. Refused are keys that stand twice, tags of other kinds, aliases of values
    that contain themselves or would grow beyond bounds, and numbers that other readers of YAML take for other numbers.

    Args:
        path: the file, in UTF-8.

    Raises:
        MissingFileError: if the file is not there.
        ConfigError: if it does not hold such YAML; names file and line.
    """
    if not path.is_file():
        raise MissingFileError(f"no YAML file '{path}'; check the path")
    with path.open("rb") as stream:
        content = stream.read(_LARGEST + 1)
    try:
        text = content[:_LARGEST].decode("utf-8-sig", "strict" if len(content) <= _LARGEST else "ignore")
    except UnicodeDecodeError as error:
        raise ConfigError(f"'{path}' is not YAML (byte {error.start} is not UTF-8); save it as UTF-8 text") from error
    if len(content) > _LARGEST:
        raise ConfigError(f"'{path}' is longer than {_LARGEST:,} characters; is it a configuration?")
    return parse_yaml(text, where=f"'{path}'")


def parse_yaml(text: str, *, where: str, as_text: bool = False) -> Any:  # noqa: ANN401 - whatever the YAML holds
    """Return what a YAML text holds; see ``read_yaml``.

    Args:
        text: the YAML.
        where: what an error begins with.
        as_text: whether every value is the text that stands there, also ``on``, ``null`` and ``123``.

    Raises:
        ConfigError: if it does not hold such YAML; names the line.

    Example:
        >>> parse_yaml("[on, 1]", where="here"), parse_yaml("[on, 1]", where="here", as_text=True)
        ([True, 1], ['on', '1'])
    """
    try:
        _refuse_colours(text)
        return yaml.load(text, Loader=_TextLoader if as_text else _Loader)  # both are SafeLoaders
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{where} is not YAML (line {line}: {error.reason}); change that line") from error
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark or error.context_mark).line + 1  # type: ignore[union-attr]  # one of them is set
        reason = printable(str(error.problem))[:200]
        advice = "close what is open, and quote what has a # in it" if "<stream end>" in reason else "change that line"
        raise ConfigError(f"{where} is not YAML (line {line}: {reason}); {advice}") from error
    except (OverflowError, ValueError) as error:  # of an escape in quotes
        raise ConfigError(f"{where} is not YAML ({error}); change the escapes in it") from error


def _refuse_colours(text: str) -> None:
    """Raise an error where a colour such as ``#ff0000`` stands for a value: YAML drops it unless it is quoted."""
    if not _COLOUR.search(text):
        return
    bare, end = "", 0
    for token in yaml.scan(text, yaml.SafeLoader):
        if isinstance(token, yaml.ScalarToken):
            start, stop = token.start_mark.index, token.end_mark.index
            bare += text[end:start] + re.sub(r"[^\n]", " ", text[start:stop])
            end = stop
    bare += text[end:]
    if found := _COLOUR.search(bare):
        mark = yaml.Mark("", found.start(1), text.count("\n", 0, found.start(1)), 0, None, 0)
        raise _refusal(f"{found[1]} begins a comment; put it in quotes: '{found[1]}'", mark)


class _Loader(yaml.SafeLoader):
    """Composes plain values of bounded depth and size; its nodes know how large they are with all aliases."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as in the class above, where a Loader looks for it
        letter: [(tag, form) for tag, form in resolvers if tag in _KINDS]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        is_alias = self.check_event(yaml.AliasEvent)
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _refusal(f"more than {_DEEPEST} levels", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return None
        if is_alias:
            if node not in self._sizes:
                raise _refusal("a value that contains itself", mark)
            return node
        self._check(node)
        self._sizes[node] = 1 + sum(map(self._size, node.value))
        if self._sizes[node] > _LARGEST:
            raise _refusal(f"aliases that stand for more than {_LARGEST:,} characters", mark)
        return node

    def _size(self, part: object) -> int:
        """Return the size of a part of a node's value: a letter, a node, or a key and its value."""
        if isinstance(part, tuple):
            return sum(map(self._size, part))
        return self._sizes[part] if isinstance(part, yaml.Node) else 1

    def _check(self, node: yaml.Node) -> None:
        if node.tag not in _KINDS:
            raise _refusal(f"the tag '{node.tag}', expected plain values", node.start_mark)
        if node.tag == f"{_TAG}int" and not _DECIMAL.fullmatch(str(node.value)):
            words = f"'{_shown(node)}' is read as another number by other programs; write it in decimal, or quote it"
            raise _refusal(words, node.start_mark)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, _ in node.value:
                if key.tag not in (f"{_TAG}str", f"{_TAG}merge") or not isinstance(key, yaml.ScalarNode):
                    raise _refusal(f"the key '{_shown(key)}', which is no text; put it in quotes", key.start_mark)
                if key.value in seen:
                    raise _refusal(f"the key '{_shown(key)}' is repeated", key.start_mark)
                seen.add(key.value)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Hashable:
        try:
            value: Hashable = super().construct_object(node, deep=deep)
        except (ValueError, LookupError, TypeError, ArithmeticError) as error:
            raise _refusal(f"'{_shown(node)}' is no {node.tag.removeprefix(_TAG)}", node.start_mark) from error
        if isinstance(value, int) and abs(value) >= 2**63:
            raise _refusal(f"'{_shown(node)}' is too large a number", node.start_mark)
        return value


class _TextLoader(_Loader):
    """Takes every value for the text that stands there."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - see above


def _shown(node: yaml.Node) -> str:
    return str(node.value)[:80] if isinstance(node, yaml.ScalarNode) else "?"


def _refusal(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)
