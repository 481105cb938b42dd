"""The checks of gradient masking on a model's test images, stored with its records."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trustseg.data import Pack
from trustseg.data.batches import PackRows, as_images
from trustseg.errors import ModelError
from trustseg.evaluation.gallery import gallery_rows
from trustseg.evaluation.loading import SizedModel, as_belief_model, hash_of_model
from trustseg.evaluation.masking_checks import CHECKS, masking_checks
from trustseg.evaluation.victim import SQUARE_QUERIES
from trustseg.files import write_json
from trustseg.models import BeliefModel
from trustseg.models.inference import fast_forward
from trustseg.run_files import MASKING_CHECKS, MaskingChecks, checks_file, read_checked

__all__ = ["Surrogate", "write_masking_checks"]

EPS: Final = 2 / 255  # small enough that an honest model is only half broken, so that attacks can be told apart


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Another model for the same images, to borrow adversarial ones from, by the name that the checks note."""

    name: str
    model: BeliefModel


def write_masking_checks(
    model: BeliefModel | SizedModel,
    pack: Pack,
    rows: NDArray[np.int64],
    folder: Path,
    *,
    count: int,
    seed: int = 0,
    device: str = "cpu",
    square_steps: int = SQUARE_QUERIES,
    surrogate: Surrogate | None = None,
    report: Callable[[int], None] | None = None,
) -> None:
    """Write ``masking_checks.json`` into a folder: what each of ``CHECKS`` finds on a few images with foreground.

    Checks that were made of the same model and images before are not repeated; with another surrogate, only the one
    that asks for it is.

    Args:
        rows: candidates; of those with foreground ``count`` are taken, evenly spread over its size.
        count: 0 writes nothing.
        square_steps: queries of the Square attack, by design 2000.
        surrogate: another model for the transfer check, which is not run without one.

    Raises:
        DataError: if none of the images has foreground.
        ModelError: if the surrogate takes images of another size or other channels.
    """
    if count == 0:
        return
    model = as_belief_model(model)
    if surrogate is not None:
        _require_same_images(model, surrogate)
    positive = rows[pack.index["foreground"].to_numpy()[rows] > 0]
    chosen = gallery_rows(pack, positive if len(positive) else rows, count)
    inputs = {
        "model": hash_of_model(model),
        "images": pack.index["name"].gather(chosen.tolist()).to_list(),
        "eps": EPS,
        "square_steps": square_steps,
        "seed": seed,
    }
    source = None if surrogate is None else {"name": surrogate.name, "model": hash_of_model(surrogate.model)}
    path = checks_file(folder)
    stored = read_checked(path, MaskingChecks).model_dump() if path.is_file() else {}
    checks = {check["name"]: check for check in stored["checks"]} if inputs.items() <= stored.items() else {}
    names = [
        name for name in CHECKS if name not in checks or (name == "transfer" and stored.get("surrogate") != source)
    ]
    if not names:
        return
    images, masks = (part.to(device) for part in as_images(PackRows(pack, chosen).__getitems__(range(len(chosen)))))
    with fast_forward(model.eval().to(device)) as fast:
        made = masking_checks(
            fast,
            images,
            masks,
            eps=EPS,
            seed=seed,
            surrogate=None if surrogate is None else surrogate.model.eval().to(device),
            square_steps=square_steps,
            deployed=model,
            only=names,
            report=report,
        )
    checks |= {check.name: asdict(check) | ({"figure": None} if math.isnan(check.figure) else {}) for check in made}
    write_json(folder / MASKING_CHECKS, {**inputs, "surrogate": source, "checks": [checks[name] for name in CHECKS]})


def _require_same_images(model: BeliefModel, surrogate: Surrogate) -> None:
    own, other = ((spec.size, spec.channels) for spec in (model.spec, surrogate.model.spec))
    if own != other:
        raise ModelError(
            f"the surrogate {surrogate.name} takes images of {other[0]} px and {other[1]} channel(s), the model "
            f"{own[0]} px and {own[1]}; set evaluation.surrogate to another model"
        )
