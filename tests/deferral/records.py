"""Record tables as an evaluation writes them, for policies to be fitted on and applied to."""

from collections.abc import Sequence

import polars as pl


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
    whole = {"mask_px": mask_px, "predicted_px": predicted_px}
    areas = {name: [value] * count if isinstance(value, int) else list(value) for name, value in whole.items()}
    return pl.DataFrame(
        {
            "image": names,
            "patient": list(patients or names),
            "condition": [condition] * count,
            "eps": [eps] * count,
            "dice": list(dice if dice is not None else [0.9] * count),
            **areas,
            "u_entropy_mean": list(scores),
        }
    )
