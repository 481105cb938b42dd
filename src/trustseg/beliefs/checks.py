"""Whether the numbers of a belief can be one."""

from torch import Tensor

from trustseg.beliefs.bernoulli import Bernoulli
from trustseg.beliefs.beta import Beta
from trustseg.beliefs.mixture import Mixture
from trustseg.errors import BeliefError

__all__ = ["check_belief"]


def check_belief(belief: Bernoulli | Beta | Mixture) -> None:
    """Check that the numbers of a belief are such: no NaN, and evidence that is finite and above 0.

    A belief is not checked when it is made, since on a GPU every look at its values waits for them. Evaluation,
    prediction and calibration check each batch.

    Args:
        belief: a belief of any kind.

    Raises:
        BeliefError: if a logit is NaN, or alpha or beta is NaN, infinite or not above 0.

    Example:
        >>> check_belief(Beta(torch.tensor([2.0]), torch.tensor([1.0])))
    """
    if isinstance(belief, Mixture):
        for member in belief.members:
            check_belief(member)
    elif isinstance(belief, Bernoulli):
        _require("logits", belief.logits, ~belief.logits.isnan(), "numbers")
    else:
        for name in ("alpha", "beta"):
            values: Tensor = getattr(belief, name)
            _require(name, values, (values > 0) & values.isfinite(), "finite numbers above 0")


def _require(name: str, values: Tensor, fits: Tensor, expected: str) -> None:
    if bool(fits.all()):
        return
    wrong = values[~fits]
    raise BeliefError(
        f"{name} of a belief holds {float(wrong[0]):g} (and {len(wrong) - 1} more like it), {expected} were expected; "
        "find where the model breaks down, for example weights or images with NaN"
    )
