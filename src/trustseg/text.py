"""Text that comes from outside, such as file names, made fit for a terminal and for UTF-8 files."""

__all__ = ["printable", "unicode_text"]


def printable(text: str) -> str:
    r"""Return ``text`` on one line, each control character, line break or undecodable byte as its escape.

    A terminal obeys control characters: the name of a file could move the cursor, or set the title of the window.

    Example:
        >>> print(printable("a\x1b[2Jb\n.png"))
        a\x1b[2Jb\n.png
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def unicode_text(text: str) -> str:
    r"""Return ``text`` with each byte of a file name that is no UTF-8 as its escape, so that it can be written down.

    Example:
        >>> print(unicode_text(b"caf\xe9.png".decode(errors="surrogateescape")))
        caf\udce9.png
    """
    return text.encode(errors="backslashreplace").decode()
