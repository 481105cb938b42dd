"""The number of network passes of an epoch of training, from its settings alone."""

from dataclasses import dataclass
from typing import Self

from trustseg.attacks import training_attacks
from trustseg.config import RunConfig
from trustseg.config.adversarial import AdversarialConfig
from trustseg.config.names import FREE
from trustseg.entries import read
from trustseg.selection import attacked_count
from trustseg.training.mixed_batch import selection_facts
from trustseg.training.schedules import fraction_at, ramp_at

__all__ = ["Passes", "epoch_passes"]


@dataclass(frozen=True, slots=True)
class Passes:
    """Images that go ``forward`` through the network, and whose gradients go ``backward``."""

    forward: float = 0
    backward: float = 0

    @property
    def work(self) -> float:
        """The same work in passes forward and backward, of which the way forward is a third."""
        return (self.forward + 2 * self.backward) / 3

    def __add__(self, other: Self) -> "Passes":
        return Passes(self.forward + other.forward, self.backward + other.backward)

    def __mul__(self, times: float) -> "Passes":
        return Passes(times * self.forward, times * self.backward)


def epoch_passes(config: RunConfig, images: int, *, epoch: int) -> Passes:
    """Return what ``Cost`` will count in an epoch: scores, attacks and steps; validation is not counted.

    Where ``selection`` is ``threshold``, ``fraction`` of the images is taken for its choice. A last batch that is not
    full is left out.

    Example:
        >>> config = RunConfig.model_validate({"adversarial": {"selection": "random", "warmup_epochs": 0}})
        >>> epoch_passes(config, 80, epoch=0)
        Passes(forward=120, backward=120)
    """
    size = min(images, config.training.batch_size)
    return _batch_passes(config.adversarial, size, epoch=epoch) * (images // max(1, size))


def _batch_passes(options: AdversarialConfig, size: int, *, epoch: int) -> Passes:
    once = Passes(size, size)
    if options.selection == "none" or options.eps * ramp_at(epoch, options) == 0:
        return once
    if options.attack == FREE:
        return once * options.replays
    attacked = attacked_count(size, fraction_at(epoch, options))
    scored = size if options.scores == "fresh" and selection_facts(options.selection).scores != "none" else 0
    kept = attacked if options.mode == "append" else 0
    return Passes(scored, 0) + once + Passes(kept, kept) + _extra(options) * attacked


def _extra(options: AdversarialConfig) -> Passes:
    """Return what an attacked image takes before the step."""
    attack, given = read(training_attacks(), options.attack, kind="training attack")
    found = Passes(*attack.facts.passes(**({"steps": options.steps} | given)))
    if options.objective == "divergence":
        found += Passes(1, 0)  # the clean belief
    if options.weight_perturbation > 0:
        found += Passes(1, 1)
    if options.grad_align > 0:
        found += Passes(2, 6)  # two gradients, and a pass through each of the four passes
    return found
