"""Text for sentences, and text from outside, such as file names, made fit for a terminal and for UTF-8 files."""

import unicodedata
from collections.abc import Sequence

__all__ = ["first_of", "patient_key", "plural", "printable", "unicode_text", "word_set"]


def plural(count: int, noun: str) -> str:
    """Return a number with its noun.

    Example:
        >>> plural(1, "image"), plural(2000, "image")
        ('1 image', '2,000 images')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def first_of(names: Sequence[object], shown: int = 3, *, joint: str = ", ") -> str:
    """Return the first names, to be shown in a sentence, and how many more there are.

    Example:
        >>> first_of("abcde")
        'a, b, c, and 2 more'
    """
    rest = [f"and {len(names) - shown:,} more"] if len(names) > shown else []
    return joint.join([*map(str, names[:shown]), *rest])


def patient_key(name: str) -> str:
    """Return what is compared of the name of a patient: neither case, nor kinds of spaces, nor forms of one letter.

    Example:
        >>> patient_key("Mu\u0308ller\u00a02") == patient_key(" m\u00fcller  2")
        True
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.split()) or name


def printable(text: str) -> str:
    r"""Return ``text`` on one line, each control character, line break or undecodable byte as its escape.

    A terminal obeys control characters: the name of a file could move the cursor, or set the title of the window.

    Example:
        >>> print(printable("a\x1b[2Jb\n.png"))
        a\x1b[2Jb\n.png
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in unicode_text(text))


def unicode_text(text: str) -> str:
    r"""Return ``text``, such as the name of a file, with bytes that are no UTF-8 as escapes, fit to be written down.

    Python keeps the bytes that it could not decode as lone surrogates: all non-ASCII ones, where the locale is ASCII.

    Example:
        >>> print(unicode_text(b"caf\xe9.png".decode(errors="surrogateescape")))
        caf\xe9.png
    """
    try:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:  # other surrogates, which no file has in its name
        return text.encode(errors="backslashreplace").decode()


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text: a long set of short words that reads as a line."""
    return frozenset(text.split())
