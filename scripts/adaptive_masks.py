"""Compare thresholds of masks that bound missed foreground: one for all images, or one for each image.

    python scripts/adaptive_masks.py OUT.csv MODEL [KEY=VALUE ...]

MODEL is a folder of ``trustseg train``. Every method replaces p by a map that rises with p within each image, and
conformal risk control (``trustseg.deferral.fit_false_negative_control``) fits one threshold of that map on validation
patients, so that all of them bound the mean share of missed foreground by AT_MOST, whatever the map:

* one threshold: p itself;
* expected share: of the foreground that is expected in an image, the share that lies at lower p
  (``trustseg.deferral.expected_share``, at several temperatures of p). Nothing is fitted;
* fitted: logit p - f(x). f, linear in scores of one pass, is the quantile of the logits of foreground pixels that half
  of the validation patients would need; the other half controls it. This minimises the objective of automatically
  adaptive control (Blot et al., AISTATS 2025, arXiv:2406.17819), which for missed foreground is a quantile regression;
* fitted, no control: f of all validation patients, as it is.

The gap is how far missed foreground lies from AT_MOST: of an image, and of the mean of each fifth of the images by some
property. Each patient counts once. OUT.csv has the test images. Each row of OUT-halves.csv is a mean over random halves
of the validation patients, the one for fitting and control, the other to try them on; choices are made there.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from trustseg.cli.deferring import sides_of
from trustseg.deferral import apply_false_negative_control, expected_share, fit_false_negative_control
from trustseg.evaluation import load_model
from trustseg.evaluation.beliefs import beliefs_of
from trustseg.statistics import bootstrap_mean, bootstrap_ratio
from trustseg.tables import write_csv
from trustseg.uncertainty import AGGREGATIONS, MEASURES

AT_MOST: Final = 0.1
HALVES: Final = 5
TEMPERATURES: Final = (1.0, 1.25, 1.5, 1.75, 2.0)
SCORES: Final = ("soft_dice_confidence", "foreground_mean", "mean", "quantile_mean")
GROUPS: Final = ("soft Dice confidence", "predicted share", "reference share")

Floats = NDArray[np.float64]


class Images(NamedTuple):
    """Images with foreground: p and masks (N, K), patients (N,), features (N, F), expected shares (N, K)."""

    p: Floats
    masks: NDArray[np.bool_]
    patients: NDArray[np.str_]
    features: Floats
    shares: Mapping[float, Floats]

    def of(self, patients: NDArray[np.str_]) -> "Images":
        """Return the images of some patients."""
        chosen = np.isin(self.patients, patients)
        shares = {temperature: share[chosen] for temperature, share in self.shares.items()}
        return Images(*(part[chosen] for part in self[:-1]), shares)


class Threshold(NamedTuple):
    """f(x), the logit of a threshold, linear in standardised features."""

    centre: Floats
    scale: Floats
    weights: Floats

    def above(self, images: Images) -> Floats:
        """Return sigmoid(logit p - f(x)), (N, K)."""
        f = _with_one((images.features - self.centre) / self.scale) @ self.weights
        return np.asarray(expit(_logit(images.p) - f[:, None]))


def images_of(model: Path, settings: list[str]) -> tuple[Images, Images]:
    """Return the validation and the test images of a model."""
    loaded = load_model(model / "model")
    sides = sides_of(model / "model", loaded.spec, settings)
    found = []
    for rows in (sides.validation, sides.test):
        p, masks, scores = [], [], []
        for belief, reference in beliefs_of(loaded, sides.pack, rows, batch_size=50):
            entropy, probability = MEASURES["entropy"](belief), belief.probability
            scores.append(torch.stack([AGGREGATIONS[name](entropy, probability) for name in SCORES], dim=1))
            p.append(probability.flatten(1))
            masks.append(reference.flatten(1) > 0.5)
        patients = sides.pack.index["patient"].gather(rows.tolist()).to_numpy().astype(str)
        inside = torch.cat(masks).numpy()
        kept = inside.any(axis=1)
        maps = torch.cat(p).numpy()[kept]
        shares = {t: np.array([expected_share(each, temperature=t) for each in maps]) for t in TEMPERATURES}
        maps = maps.astype(np.float64)
        area = (maps > 0.5).mean(axis=1, keepdims=True)
        own = np.hstack([torch.cat(scores).double().numpy()[kept], area])
        missed = np.where(shares[1.0] <= AT_MOST, maps, 0).max(
            axis=1, keepdims=True
        )  # the threshold that p itself asks
        features = np.hstack([own, np.log(own + 1e-4), _logit(missed), _logit(maps.max(axis=1, keepdims=True))])
        found.append(Images(maps, inside[kept], patients[kept], features, shares))
    return found[0], found[1]


def fitted_threshold(images: Images) -> Threshold:
    """Return f by quantile regression of the logits of foreground pixels, each patient and each image counting once."""
    centre, scale = images.features.mean(axis=0), images.features.std(axis=0) + 1e-9
    design = _with_one((images.features - centre) / scale)
    z = [np.sort(_logit(p[inside])) for p, inside in zip(images.p, images.masks, strict=True)]
    sums = [np.concatenate([[0.0], np.cumsum(values)]) for values in z]
    size = np.array([len(values) for values in z])
    _, owner = np.unique(images.patients, return_inverse=True)
    weights = 1 / np.bincount(owner)[owner] / (owner.max() + 1)

    def objective(beta: Floats) -> tuple[float, Floats]:
        f = design @ beta
        under = np.array([np.searchsorted(values, each) for values, each in zip(z, f, strict=True)])
        below = np.array([total[k] for total, k in zip(sums, under, strict=True)])
        loss = (under * f - below) / size - AT_MOST * f  # the pinball loss, but for what does not depend on f
        penalty = 1e-3 * np.r_[0.0, beta[1:]]
        return float(weights @ loss + penalty @ beta / 2), design.T @ (weights * (under / size - AT_MOST)) + penalty

    start = np.r_[np.median([np.quantile(values, AT_MOST) for values in z]), np.zeros(len(centre))]
    return Threshold(centre, scale, minimize(objective, start, jac=True, method="L-BFGS-B").x)


def tried(fitting: Images, test: Images) -> dict[str, pl.DataFrame]:
    """Return the misses of each method on the test images, fitted and controlled on others."""
    names = np.random.default_rng(0).permutation(np.unique(fitting.patients))
    first, second = (fitting.of(part) for part in np.array_split(names, 2))
    half, whole = fitted_threshold(first), fitted_threshold(fitting)
    methods = {
        "one threshold": (fitting, fitting.p, test.p),
        **{f"expected share, temperature {t:g}": (fitting, fitting.shares[t], test.shares[t]) for t in TEMPERATURES},
        "fitted": (second, half.above(second), half.above(test)),
    }
    found = {}
    for method, (control, maps, tested) in methods.items():
        rule = fit_false_negative_control(maps, control.masks, control.patients.tolist(), at_most=AT_MOST)
        found[method] = apply_false_negative_control(rule, tested, test.masks, test.patients.tolist())
    rule = replace(rule, threshold=0.5)
    tested = whole.above(test)
    return found | {
        "fitted, no control": apply_false_negative_control(rule, tested, test.masks, test.patients.tolist())
    }


def row_of(table: pl.DataFrame, test: Images) -> dict[str, float]:
    """Return missed foreground, gaps and area of one method; each patient counts once."""
    missed, patients = table["false_negative_rate"].to_numpy(), table["patient"].to_list()
    _, owner = np.unique(test.patients, return_inverse=True)
    weights = 1 / np.bincount(owner)[owner]
    row = _interval("missed", missed, patients) | _interval("gap", np.abs(missed - AT_MOST), patients)
    known = (test.features[:, 0], test.features[:, len(SCORES)], test.masks.mean(axis=1))
    for name, values in zip(GROUPS, known, strict=True):
        fifth = np.searchsorted(np.quantile(values, (0.2, 0.4, 0.6, 0.8)), values)
        means = np.array([np.average(missed[fifth == k], weights=weights[fifth == k]) for k in range(5)])
        row |= {f"gap by {name}": float(np.abs(means - AT_MOST).mean()), f"worst by {name}": float(means.max())}
    area = bootstrap_ratio(table["set_px"], table["mask_px"], patients)
    return row | {"area": area.value, "area_low": area.low, "area_high": area.high}


def _interval(name: str, values: Floats, patients: list[str]) -> dict[str, float]:
    table = pl.DataFrame({"value": values, "patient": patients}).group_by("patient", maintain_order=True).mean()
    found = bootstrap_mean(table["value"], table["patient"])
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _with_one(x: Floats) -> Floats:
    return np.column_stack([np.ones(len(x)), x])


def _logit(p: Floats) -> Floats:
    return np.asarray(logit(p.clip(1e-9, 1 - 1e-9)))


def main(out: Path, model: Path, settings: list[str]) -> None:
    """Write both tables."""
    validation, test = images_of(model, settings)
    official = [{"method": method, **row_of(table, test)} for method, table in tried(validation, test).items()]
    rng, names, halves = np.random.default_rng(0), np.unique(validation.patients), []
    for _ in range(HALVES):
        first, second = (validation.of(part) for part in np.array_split(rng.permutation(names), 2))
        halves += [{"method": method, **row_of(table, second)} for method, table in tried(first, second).items()]
    means = pl.DataFrame(halves).group_by("method", maintain_order=True).mean()
    means = means.drop([name for name in means.columns if name.endswith(("_low", "_high"))])
    for file, table in ((out, pl.DataFrame(official)), (out.with_name(f"{out.stem}-halves.csv"), means)):
        write_csv(table.with_columns(pl.col(pl.Float64).round(4)), file)
        with pl.Config(tbl_cols=-1, tbl_width_chars=250):
            print(table)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
