"""Run an attack without a trace in the model, its mode or the random state."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from trustseg.errors import AttackError

__all__ = ["isolated"]


@contextmanager
def isolated(model: object) -> Iterator[None]:
    """Put ``model`` into eval mode with full-precision gradients; afterwards everything is as before.

    Inside, every submodule has ``training`` False, gradients are on even under ``no_grad`` or ``inference_mode``,
    autocast is off, and the global random state is a copy. The flags are set by attribute, so that an overridden
    ``train()`` does not run. Dropout is off too: a model that samples on purpose has to do so in eval mode. Clone
    tensors made under ``inference_mode`` before use: they cannot carry gradients.

    Args:
        model: a module, a method of one, or a ``functools.partial`` that holds some. Anything else, such as a plain
            function, is taken as stateless: a module hidden in it keeps its mode.

    Raises:
        AttackError: if a module is wrapped for distributed training, where one more forward on one rank deadlocks.
    """
    modules = [module for root in _roots(model) for module in root.modules()]
    if any(isinstance(module, DistributedDataParallel) for module in modules):
        raise AttackError(
            "the model is wrapped in DistributedDataParallel, where an attack on one rank would wait for the others; "
            "pass model.module"
        )
    modes = [(module, module.training) for module in modules]
    cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))  # enable_grad alone does not lift inference mode
        stack.enter_context(torch.enable_grad())
        for device_type in ("cpu", "cuda") if cuda else ("cpu",):
            stack.enter_context(torch.autocast(device_type, enabled=False))
        stack.enter_context(torch.random.fork_rng(devices=range(torch.cuda.device_count()) if cuda else ()))
        try:
            for module, _ in modes:
                module.training = False
            yield
        finally:
            for module, mode in modes:
                module.training = mode


def _roots(model: object) -> Iterator[nn.Module]:
    """Yield the modules in a module, a bound method or a partial."""
    if isinstance(model, nn.Module):
        yield model
    elif isinstance(model, partial):
        for part in (model.func, *model.args, *model.keywords.values()):
            yield from _roots(part)
    elif isinstance(owner := getattr(model, "__self__", None), nn.Module):
        yield owner
