"""One tree of errors; each message says what was got, what was expected and what to change.

TrustsegError
├── ConfigError (ValueError)             a configuration key or value that does not exist or does not fit
├── UnknownNameError (ValueError)        a name that is in none of our dictionaries
├── DataError (ValueError)               an image, a mask or a dataset that cannot be used
├── MissingFileError (FileNotFoundError) a file or folder that is not there
├── ShapeError (ValueError)              tensors whose shapes, types or values do not fit each other
├── BeliefError (ValueError)             a measure that this kind of belief cannot give
├── ModelError (ValueError)              a model file or architecture that does not fit
├── AttackError (ValueError)             an attack that cannot run as asked
├── QuestionError (ValueError)           something about a model or data that only the user can decide
├── MissingPackageError (ImportError)    an optional package that is not installed
└── RunError (RuntimeError)              a run that failed; the command exits with 1, with 2 for all others
"""

import difflib
import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = [
    "AttackError",
    "BeliefError",
    "ConfigError",
    "DataError",
    "MissingFileError",
    "MissingPackageError",
    "ModelError",
    "QuestionError",
    "RunError",
    "ShapeError",
    "TrustsegError",
    "UnknownNameError",
    "first_problem",
    "is_out_of_memory",
    "misfortune",
    "unknown_name",
]


_LONGEST = 80  # characters of a name in a message
_MANY = 20  # names that are not all listed where a near one is known


class TrustsegError(Exception):
    """Root of every error that trustseg raises on purpose."""


class ConfigError(TrustsegError, ValueError):
    """A configuration key or value does not exist or does not fit."""


class UnknownNameError(TrustsegError, ValueError):
    """A name is in none of our dictionaries."""


class DataError(TrustsegError, ValueError):
    """An image, a mask or a dataset cannot be used."""


class MissingFileError(TrustsegError, FileNotFoundError):
    """A file or folder is not there."""


class ShapeError(TrustsegError, ValueError):
    """Tensors do not fit each other in shape, type or values."""


class BeliefError(TrustsegError, ValueError):
    """This kind of belief cannot give the measure asked for."""


class ModelError(TrustsegError, ValueError):
    """A model file or an architecture does not fit."""


class AttackError(TrustsegError, ValueError):
    """An attack cannot run as asked."""


class QuestionError(TrustsegError, ValueError):
    """Only the user can decide something about a model or data; the message names the option."""


class MissingPackageError(TrustsegError, ImportError):
    """An optional package is not installed."""


class RunError(TrustsegError, RuntimeError):
    """A run failed."""


def unknown_name(kind: str, got: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error for a name that a dictionary does not hold: the nearest known one, and all unless they are many.

    Example:
        >>> str(unknown_name("attack", "fgms", ["fgsm", "pgd"]))
        "unknown attack 'fgms'; did you mean 'fgsm'? known: fgsm, pgd"
    """
    names = sorted(known)
    near = difflib.get_close_matches(got, names, n=1)
    hints = [f"did you mean '{near[0]}'?"] if near else []
    if not near or len(names) <= _MANY:
        hints.append(f"known: {', '.join(names)}")
    shown = got if len(got) <= _LONGEST else f"{got[:_LONGEST]}..."
    return UnknownNameError(f"unknown {kind} '{shown}'; {' '.join(hints)}")


def first_problem(error: "ValidationError") -> tuple[str, str]:
    """Return where the first problem that pydantic found lies, as a dotted key, and what it is.

    A mistyped key comes before the key that is then missing.
    """
    found = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    problem = found["msg"].removeprefix("Value error, ")
    if found["type"] == "extra_forbidden":
        problem = "no such key"
    elif problem == found["msg"]:  # a sentence of pydantic
        problem = problem[:1].lower() + problem[1:]
    return ".".join(map(str, found["loc"])), problem


_NO_MEMORY = (  # what a plain RuntimeError says of it, of a CPU or a GPU
    *("can't allocate memory", "CUDA error: out of memory"),
    *("CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED"),
)


def misfortune(error: Exception) -> str | None:
    """Return what happened to the machine, in one sentence with what to do: a full disk, a path, memory; else None.

    Example:
        >>> misfortune(OSError(28, "No space left on device", "here"))
        "the disk is full at 'here'; nothing finished is lost; free some space and run the same command again"
    """
    where = f" at '{error.filename}'" if isinstance(error, OSError) and error.filename else ""
    # safetensors and polars tell of a full disk in errors of their own, without a number.
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error):
        return f"the disk is full{where}; nothing finished is lost; free some space and run the same command again"
    if is_out_of_memory(error):
        return "out of memory; lower data.size, training.batch_size, evaluation.batch_size or --jobs"
    if isinstance(error, OSError):
        return f"{error.strerror or error}{where}; check the path and its permissions"
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that a GPU or the machine has no memory left.

    Example:
        >>> is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
        True
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
