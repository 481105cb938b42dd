"""What torch.compile is worth, architecture by architecture: the reason for which it is off by default, or on."""

import logging
from collections.abc import Iterator
from copy import deepcopy
from functools import partial

import torch

from benchmarks.scenes import BATCH, DEVICE, ON_GPU, bare_step, random_batch
from benchmarks.timing import Figure, seconds_of
from trustseg.models import ARCHITECTURES, build_segmenter
from trustseg.training.hardware import compile_network

_log = logging.getLogger(__name__)
SIZE = 224 if ON_GPU else 96
STEPS = 50 if ON_GPU else 4


def figures() -> Iterator[Figure]:
    """Yield the time of a training step of the compiled network in units of one of the network as it is."""
    batch = random_batch(SIZE)
    torch.compiler.config.force_disable_caches = True  # what an earlier run compiled would be found again
    for architecture in ARCHITECTURES:
        torch.manual_seed(0)
        encoder = "resnet50" if architecture == "fcn" else "resnet18"  # the smallest that each takes
        plain = build_segmenter(architecture=architecture, encoder=encoder, head="bernoulli", size=SIZE)
        plain = plain.to(DEVICE, memory_format=torch.channels_last)
        compiled = deepcopy(plain)
        plain_forward = compiled.network.forward.__func__
        compile_network(compiled)
        steps = {"plain": bare_step(plain), "compiled": bare_step(compiled)}
        try:
            first = {way: seconds_of({way: partial(step, *batch)}, repeats=1)[way] for way, step in steps.items()}
        except RuntimeError as error:  # of the backward pass, which is compiled later
            _log.warning("%s could not be compiled (%s)", architecture, error)
            continue
        if getattr(compiled.network.forward, "__func__", None) is plain_forward:  # the log says why
            continue
        works = {way: lambda step=step: [step(*batch) for _ in range(STEPS)] for way, step in steps.items()}
        times = {way: seconds / STEPS for way, seconds in seconds_of(works, repeats=3).items()}
        details = {f"{way}_seconds": seconds for way, seconds in times.items()}
        details |= {"seconds_to_compile": first["compiled"] - times["compiled"], "images": float(BATCH)}
        name = f"a step, {SIZE} px, compiled / as it is: {architecture}"
        yield Figure(name, times["compiled"] / times["plain"], details=details)
