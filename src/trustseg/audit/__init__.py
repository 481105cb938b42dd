"""Audits of any model, or of its predictions alone, against requirements: verdicts, a page, an exit code.

``audit`` opens, plans, measures, judges and writes; ``compare`` sets two audits of the same cases side by side. The
module itself can be called like the function: ``trustseg.audit(model, data)`` after ``import trustseg``. Calling it, or
using another name from here, loads torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from trustseg.audit.comparing import compare
    from trustseg.audit.quantities import QUANTITIES
    from trustseg.audit.requirements import Requirement, read_requirements
    from trustseg.audit.run import Audit, audit
    from trustseg.audit.subject import ModelOptions

__all__ = ["QUANTITIES", "Audit", "ModelOptions", "Requirement", "audit", "compare", "read_requirements"]

_WITH_TORCH: Final = ("comparing", "quantities", "requirements", "run", "subject")


class _Callable(ModuleType):
    """A module that can be called like its function ``audit``."""

    def __call__(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - those of ``audit``
        """Return what ``audit`` returns."""
        return import_module(f"{__name__}.run").audit(*args, **options)


sys.modules[__name__].__class__ = _Callable

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import names when they are used: all of them need torch."""
        for module in (import_module(f"{__name__}.{file}") for file in _WITH_TORCH if name in __all__):
            if name in module.__all__:
                return getattr(module, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
