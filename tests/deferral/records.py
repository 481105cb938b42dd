"""Record tables as an evaluation writes them, and policies fitted on them."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from trustseg.deferral import CertifiedPolicy, Policy, fit_certified_policy, fit_policy


def records_of(
    scores: Sequence[float],
    dice: Sequence[float] | None = None,
    *,
    patients: Sequence[str] | None = None,
    mask_px: Sequence[int] | int = 10,
    predicted_px: Sequence[int] | int = 10,
    condition: str = "clean",
    eps: float = 0.0,
) -> pl.DataFrame:
    """Return one row an image, with the score in ``u_entropy_mean``; each image has a patient of its own by default."""
    count = len(scores)
    names = [f"image{number}" for number in range(count)]
    return pl.DataFrame(
        {
            "image": names,
            "patient": list(patients or names),
            "condition": [condition] * count,
            "eps": [eps] * count,
            "dice": list(dice if dice is not None else [0.9] * count),
            "mask_px": [mask_px] * count if isinstance(mask_px, int) else list(mask_px),
            "predicted_px": [predicted_px] * count if isinstance(predicted_px, int) else list(predicted_px),
            "u_entropy_mean": list(scores),
        }
    )


def fit(records: pl.DataFrame, **options: Any) -> Policy:  # noqa: ANN401 - those of ``fit_policy``
    """Return a policy of the mean entropy."""
    return fit_policy(records, **({"measure": "entropy", "aggregation": "mean"} | options))


def certify(records: pl.DataFrame, **options: Any) -> CertifiedPolicy:  # noqa: ANN401 - those of the function
    """Return a certified policy of the mean entropy, for changes of half the noise."""
    usual: dict[str, Any] = {"measure": "entropy", "aggregation": "mean", "radius": 0.25, "noise": 0.5, "size": 64}
    return fit_certified_policy(records, **(usual | options))
