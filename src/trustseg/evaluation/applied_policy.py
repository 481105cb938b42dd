"""A policy where images are predicted: whether it fits the model, and whether its promise may hold."""

from collections.abc import Callable, Mapping, Sequence

from trustseg.deferral import NONE, VOID, AreaInterval, CertifiedPolicy, FalseNegativeControl, Policy, check_model
from trustseg.deferral.certified import check_certified
from trustseg.deferral.exchangeability import compared_scores, differs_by_now
from trustseg.errors import ConfigError
from trustseg.evaluation.noisy import Draw
from trustseg.models import BeliefModel

__all__ = ["check_policy", "guarantee_of"]

_CHANCE = "conformal test martingale; chance of a false alarm at most 0.05"


def check_policy(
    policy: Policy | CertifiedPolicy | None,
    control: FalseNegativeControl | None,
    area: AreaInterval | None,
    draws: Mapping[str, Draw] | None,
    model: BeliefModel,
    hash_of_this: str,
) -> None:
    """Raise unless policy, control, interval and draws fit the model and each other."""
    certified = isinstance(policy, CertifiedPolicy)
    without_noise = {"a control": control, "an interval of areas": area}
    for name, fitted in without_noise.items():
        if certified and fitted is not None:
            raise ConfigError(f"a certified policy predicts from noisy images, and {name} was fitted on images without")
    if draws is not None and not certified:
        raise ConfigError("noise can only be repeated for a certified policy; give it, or leave --noise-seeds out")
    if isinstance(policy, CertifiedPolicy):
        check_certified(policy, model=hash_of_this, size=model.spec.size, channels=model.spec.channels)
    elif policy is not None:
        check_model(policy, hash_of_this)
    for fitted in without_noise.values():
        if fitted is not None:
            check_model(fitted, hash_of_this)


def guarantee_of(
    policy: Policy | CertifiedPolicy,
    scores: Sequence[float],
    note: Callable[[str], None] | None,
    *,
    arrived: Sequence[float] | None = None,
) -> str:
    """Return whether images look like those of calibration, for the table, and note how they compare.

    A certified policy covers changes within its radius, which may show in the scores: there a difference leaves the
    guarantee in doubt, elsewhere it is void; a policy that could not be fitted has ``NONE``. With ``arrived``,
    scores of the images before these in order of arrival, all are tested in that order, and only a difference is noted.
    """
    if not policy.fitted:
        return NONE
    alone = "if each image is of another patient"
    if arrived is None:
        comparison = compared_scores(policy.reference_scores, scores)
        differs, finding = (None, "") if comparison is None else (comparison.differs, comparison.finding(alone))
    else:
        differs = differs_by_now(policy.reference_scores, [*arrived, *scores])
        finding = f"The scores of the arriving images differ from those of calibration ({_CHANCE} {alone})"
    if differs is None:
        return "not tested"
    certified = isinstance(policy, CertifiedPolicy)
    if note is not None and differs:
        unless = "unless changes within the radius explain it, " if certified else ""
        note(f"{finding}: {unless}the guarantee is void.")
    elif note is not None and arrived is None:
        note(f"{finding}. This does not prove that they are exchangeable.")
    return "no difference found" if not differs else "in doubt" if certified else VOID
