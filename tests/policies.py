"""A deferral policy that no split was needed for."""

from dataclasses import replace

from trustseg.deferral import Policy

POLICY = Policy(
    measure="entropy",
    aggregation="mean",
    threshold=0.5,
    target="review_rate",
    at_most=0.5,
    tau=0.5,
    delta=0.05,
    images=9,
    patients=9,
    patient_hashes=(),
    statement="",
)


def policy_with(**settings: object) -> Policy:
    """Return ``POLICY`` with some of its values replaced."""
    return replace(POLICY, **settings)  # type: ignore[arg-type]  # as Policy takes them
