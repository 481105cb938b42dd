"""A policy where images are predicted: whether it fits the model, what it promises, whether that may hold."""

from collections.abc import Callable, Mapping, Sequence

from trustseg.deferral import VOID, CertifiedPolicy, FalseNegativeControl, Policy, check_model
from trustseg.deferral.certified_policy import check_certified
from trustseg.deferral.exchangeability import compared_scores
from trustseg.errors import ConfigError
from trustseg.evaluation.noisy import Draw
from trustseg.models import BeliefModel

__all__ = ["check_policy", "guarantee_of", "promise_of"]


def check_policy(
    policy: Policy | CertifiedPolicy | None,
    control: FalseNegativeControl | None,
    draws: Mapping[str, Draw] | None,
    model: BeliefModel,
    hash_of_this: str,
) -> None:
    """Raise unless policy, control and draws fit the model and each other."""
    certified = isinstance(policy, CertifiedPolicy)
    if certified and control is not None:
        raise ConfigError("a certified policy predicts from noisy images, and a control was fitted on images without")
    if draws is not None and not certified:
        raise ConfigError("noise can only be repeated for a certified policy; give it, or leave --noise-seeds out")
    if isinstance(policy, CertifiedPolicy):
        check_certified(policy, model=hash_of_this, size=model.spec.size, channels=model.spec.channels)
    elif policy is not None:
        check_model(policy, hash_of_this)
    if control is not None:
        check_model(control, hash_of_this)


def guarantee_of(policy: Policy, scores: Sequence[float], note: Callable[[str], None] | None) -> str:
    """Return what becomes of the guarantee of an ordinary policy, and note how the images compare with its own."""
    found = compared_scores(policy, scores)
    if found is None:
        return "not tested"
    if note is not None:
        note(f"{found.statement} Each image is taken for a patient of its own.")
    return VOID if found.differs else "no difference found"


def promise_of(policy: CertifiedPolicy, draw: Draw) -> dict[str, str]:
    """Return the columns that say by which draw an image was decided, and what that certifies."""
    return {
        "noise": f"{policy.noise:g}",
        "noise_seed": str(draw.seed),
        "pixels": draw.pixels,
        "certified_at_most": f"{policy.at_most:g}",
        "certified_radius": f"{policy.radius:g}",
    }
