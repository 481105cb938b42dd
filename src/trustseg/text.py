"""Text that comes from outside, such as file names, made fit for a terminal and for UTF-8 files."""

__all__ = ["printable", "unicode_text", "word_set"]


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
