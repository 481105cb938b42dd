"""Medical image segmentation models that know when not to be trusted."""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import ``trustseg.audit``, a module that can be called, when it is first used."""
    if name == "audit":
        from importlib import import_module

        return import_module("trustseg.audit")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
