"""Certified deferral on generated chest X-rays: what it promises by radius, what attacks reach, and what it costs.

    python scripts/certified_deferral.py runs/certified docs/results/certified

Two networks, one trained with noise and one without, and policies of each, all fitted on the same calibration patients.
noisy_attack.py holds the attack. Finished trainings are not repeated.
"""

import argparse
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
import torch
from noisy_attack import AGGREGATION, MEASURE, TAU, Rule, attacked, harm_of
from numpy.typing import NDArray
from torch import Tensor

from trustseg.config import load_run
from trustseg.data import Pack, open_dataset, write_phantoms
from trustseg.deferral import CertifiedPolicy, Policy, certified_bound, fit_certified_policy, fit_policy
from trustseg.deferral.attacked_weights import attacked_weights
from trustseg.evaluation.loading import hash_of_model
from trustseg.evaluation.noisy import noisy_records
from trustseg.models import Segmenter
from trustseg.randomness import derived_generator
from trustseg.records import score_column
from trustseg.statistics import bootstrap_mean
from trustseg.training import train

SIZE: Final = 64
NOISE: Final = 0.25
RADII: Final = (0.0, 0.125)
FITTED: Final = 0.125
AT_MOST: Final = 0.1
DELTA: Final = 0.05
DRAWS: Final = 16
CERTIFIED: Final = (
    ("A: certified on average", 1, None),
    (f"B: certified with confidence {1 - DELTA:g}", 1, DELTA),
    (f"C: certified on average, {DRAWS} draws", DRAWS, None),
)
"""Name of each certified policy, draws of its calibration images, and delta."""

KINDS: Final = {"radius": pl.Float64, "of_these_images": pl.Float64, "certified": pl.Float64}
EXACT: Final = 1e-12  # a deviation so small that a noisy pass is one without noise


def largest_chance(clean: NDArray[np.float64], *, radius: float) -> float:
    """Return the mean of the largest chance that each image can be brought to: no attack on these images exceeds it."""
    inside = [certified_bound(p, radius=radius, noise=NOISE) if 0 < p < 1 else p for p in clean.tolist()]
    return float(np.mean(inside))


def models(folder: Path, pack: Pack, *, epochs: int) -> dict[str, Segmenter]:
    """Train a network without and one with noise, or load those that are there."""
    found = {}
    for name, noise in (("plain", 0.0), ("noise-trained", NOISE)):
        home = folder / name
        settings = (
            f"data.size={SIZE}",
            "model.encoder=resnet18",
            "model.depth=3",
            "model.decoder_channels=[48, 32, 16]",
            "adversarial.selection=none",
            f"training.epochs={epochs}",
            "training.batch_size=16",
            "training.threads=1",
            "training.accelerator=cpu",
            f"training.noise={noise:g}",
        )
        if not (home / "model" / "model.json").is_file():
            train(load_run(None, list(settings)), pack, home, report=partial(said, name))
        found[name] = Segmenter.load(home / "model").requires_grad_(False)
    return found


def said(name: str, done: int, total: int) -> None:
    """Print how far a training is."""
    print(f"{name}: epoch {done} of {total}", flush=True)


class Passes(NamedTuple):
    """Record tables of noisy passes, kept in a folder."""

    folder: Path
    pack: Pack

    def table(
        self, name: str, model: Segmenter, rows: NDArray[np.int64], *, noise: float, seed: int, draws: int = 1
    ) -> pl.DataFrame:
        """Return the pass of a model over some images, made unless it is there."""
        file = self.folder / f"{name}-noise{noise:g}-seed{seed}-draws{draws}.parquet"
        if not file.is_file():
            found = noisy_records(
                model,
                self.pack,
                rows,
                noise=noise or EXACT,
                seed=seed,
                measure=MEASURE,
                aggregation=AGGREGATION,
                draws=draws,
            )
            found.write_parquet(file)
        return pl.read_parquet(file)


def rules_of(loaded: Mapping[str, Segmenter], passes: Passes, rows: NDArray[np.int64]) -> dict[str, Rule]:
    """Fit the policies of every model on the calibration images."""
    common: dict[str, Any] = {"measure": MEASURE, "aggregation": AGGREGATION, "at_most": AT_MOST, "tau": TAU}
    rules = {}
    for name, model in loaded.items():
        about = hash_of_model(model)
        clean = passes.table(name, model, rows, noise=0, seed=0).with_columns(condition=pl.lit("clean"))
        policy = fit_policy(clean, **common, target="missed_lesions", delta=DELTA, model=about)
        rules[f"{name}, ordinary policy"] = Rule(name, model, 0.0, policy)
        for words, draws, delta in CERTIFIED:
            if name == "plain" and draws > 1:
                continue  # under noise it fails nearly everywhere
            noise = passes.table(name, model, rows, noise=NOISE, seed=0, draws=draws)
            certified = fit_certified_policy(
                noise, **common, radius=FITTED, noise=NOISE, delta=delta, size=SIZE, model=about
            )
            rules[f"{name}, {words}"] = Rule(name, model, NOISE, certified)
    return rules


def priced(rules: Mapping[str, Rule], passes: Passes, rows: NDArray[np.int64]) -> pl.DataFrame:
    """Return what each policy keeps of the test images without attack, and the Dice of what it keeps."""
    table = []
    for words, (name, model, noise, policy) in rules.items():
        found = passes.table(name, model, rows, noise=noise, seed=1)
        kept = ~policy.review(found[policy.column].to_numpy())
        values = found["dice"].to_numpy()
        failed = found.with_columns(pl.Series("harm", (kept & (values < TAU)).astype(float)))
        harm = bootstrap_mean(*failed.group_by("patient", maintain_order=True).agg(pl.mean("harm"))["harm", "patient"])
        row: dict[str, object] = {"policy": words, "dice": np.nanmean(values), "failing": np.mean(values < TAU)}
        row |= {"kept": kept.mean(), "dice_of_kept": np.nanmean(values[kept]) if kept.any() else np.nan}
        row |= {"undetected": harm.value, "undetected_low": harm.low, "undetected_high": harm.high}
        row |= {"threshold": policy.threshold, "images": len(found), "patients": found["patient"].n_unique()}
        table.append(row)
    return pl.DataFrame(table)


def resplit(whole: pl.DataFrame, *, splits: int = 200) -> pl.DataFrame:
    """Return what certified policies do on average over random halves of patients: fitted on one, tested on the other.

    The risk under the worst attack that an image allows is known through k of its m draws alone: ``worst_low`` takes
    h(k / m), too small on average, ``worst_high`` the weights of theorem C, too large.
    """
    names, rng = whole["patient"].unique().sort().to_numpy(), np.random.default_rng(0)
    weights = attacked_weights(DRAWS, radius=FITTED, noise=NOISE)
    shares = np.arange(DRAWS + 1) / DRAWS
    inside = np.array([certified_bound(p, radius=FITTED, noise=NOISE) if 0 < p < 1 else p for p in shares])
    column = score_column(MEASURE, AGGREGATION)
    common: dict[str, Any] = {"measure": MEASURE, "aggregation": AGGREGATION, "at_most": AT_MOST, "tau": TAU}
    rows = []
    for _ in range(splits):
        own = whole["patient"].is_in(rng.permutation(names)[: len(names) // 2].tolist())
        first, second = whole.filter(own), whole.filter(~own)
        for words, draws, delta in CERTIFIED:
            policy = fit_certified_policy(
                first.filter(pl.col("draw") < draws), **common, radius=FITTED, noise=NOISE, delta=delta, size=SIZE
            )
            kept = pl.col(column) <= policy.threshold
            images = second.group_by("patient", "image").agg(
                kept=kept.mean(), failures=(kept & (pl.col("dice") < TAU)).sum()
            )
            k = images["failures"].to_numpy()
            values = {"undetected": shares[k], "worst_low": inside[k], "worst_high": weights[k]}
            means = images.with_columns(**{name: pl.Series(found) for name, found in values.items()})
            means = means.group_by("patient").agg(pl.mean("kept", *values)).mean()
            rows.append({"policy": words, **means.drop("patient").row(0, named=True)})
    table = pl.DataFrame(rows).with_columns(within=pl.col("worst_high") <= AT_MOST)
    return table.group_by("policy", maintain_order=True).mean()


def attack_rows(
    name: str, rule: Rule, images: Tensor, masks: Tensor, *, steps: int, draws: int
) -> list[dict[str, object]]:
    """Return what attacks reach against a policy at each radius, with its bound."""
    rows, best, clean = [], images, np.zeros(0)
    for radius in RADII:
        if radius > 0:
            taken = steps if rule.noise else 2 * steps
            best = attacked(rule, images, masks, best, radius=radius, steps=taken, draws=draws)
        generator = derived_generator(0, "certified judgement", f"{radius:g}")
        harm = harm_of(rule, best, masks, draws=64, generator=generator).double().numpy()
        clean = harm if radius == 0 else clean
        reached = bootstrap_mean(harm, np.arange(len(harm)))
        row: dict[str, object] = {"policy": name, "radius": radius, "reached": reached.value}
        row |= {
            "low": reached.low,
            "high": reached.high,
            "images": len(harm),
            "of_these_images": None,
            "certified": None,
        }
        if isinstance(rule.policy, CertifiedPolicy):
            row["of_these_images"] = largest_chance(clean, radius=radius)
            row["certified"] = rule.policy.bound(radius)
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    """Write price.csv, attacks.csv and resplits.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder for images and models")
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--images", type=int, default=60, help="attacked test images, one per patient")
    parser.add_argument("--steps", type=int, default=8, help="steps of each ascent")
    parser.add_argument("--draws", type=int, default=3, help="noise draws per step")
    options = parser.parse_args()
    os.nice(19)
    torch.set_num_threads(1)
    films = options.work / "films"
    if not (films / "phantoms.json").is_file():
        write_phantoms(films, train=480, test=560, control=0, size=SIZE, seed=0, jobs=1)
    pack = open_dataset(str(films), size=SIZE)
    loaded = models(options.work, pack, epochs=options.epochs)
    of_test = pack.index.with_row_index("row").filter(pl.col("split") == "test")
    names = of_test["patient"].unique(maintain_order=True)
    half = of_test["patient"].is_in(names[: len(names) // 2].implode())
    calibration, test = (
        part["row"].to_numpy().astype(np.int64) for part in (of_test.filter(half), of_test.filter(~half))
    )
    options.output.mkdir(parents=True, exist_ok=True)
    passes = Passes(options.work, pack)
    rules = rules_of(loaded, passes, calibration)
    price = priced(rules, passes, test)
    price.with_columns(pl.col(pl.Float64).round(4)).write_csv(options.output / "price.csv")
    print(price.to_dicts(), flush=True)
    firsts = of_test.filter(~half).unique("patient", keep="first", maintain_order=True)["row"].to_numpy()
    chosen = firsts[np.linspace(0, len(firsts) - 1, min(options.images, len(firsts))).astype(int)]
    images, masks = (torch.from_numpy(maps[chosen]).float() for maps in (pack.images, pack.masks))
    images = images / 255
    tables = []
    for name, rule in rules.items():
        # Each model with the policies it was trained for; B is a stricter A.
        if (rule.name == "plain") == isinstance(rule.policy, Policy) and ", B" not in name:
            file = options.work / f"attacks-{name.partition(':')[0].replace(', ', '-').replace(' ', '-')}.csv"
            if not file.is_file():
                rows = attack_rows(name, rule, images, masks, steps=options.steps, draws=options.draws)
                pl.DataFrame(rows).with_columns(pl.col(pl.Float64).round(4)).write_csv(file)
            tables.append(pl.read_csv(file, schema_overrides=KINDS))
            pl.concat(tables).write_csv(options.output / "attacks.csv")
    model = loaded["noise-trained"]
    about: dict[str, Any] = {"noise": NOISE, "draws": DRAWS}
    halves = [passes.table("noise-trained", model, calibration, seed=0, **about)]
    halves += [passes.table("noise-trained", model, test, seed=1, **about)]
    again = resplit(pl.concat(halves))
    again.with_columns(pl.col(pl.Float64).round(4)).write_csv(options.output / "resplits.csv")
    print(again, flush=True)


if __name__ == "__main__":
    main()
