"""Certified deferral on generated chest X-rays: what it promises by radius, what attacks reach, and what it costs.

    python scripts/certified_deferral.py runs/certified docs/results/certified

Two networks, one trained with noise and one without, and policies of each, all fitted on the same calibration patients.
The attack knows everything but the noise: L2-bounded ascent of the chance that an image is kept and its Dice below tau,
in expectation over fresh noise in every step, unclipped, from several aims; per image, the candidate that looks
strongest on other noise is kept and measured on noise that no search has seen. Finished trainings are not repeated.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from trustseg.config import load_run
from trustseg.data import Pack, open_dataset, write_phantoms
from trustseg.deferral import CertifiedPolicy, Policy, certified_bound, fit_certified_policy, fit_policy
from trustseg.deferral.attacked_weights import attacked_weights
from trustseg.entries import call
from trustseg.evaluation.loading import hash_of_model
from trustseg.evaluation.noisy import noisy_records
from trustseg.losses import LOSSES
from trustseg.metrics import dice
from trustseg.models import Segmenter
from trustseg.randomness import derived_generator
from trustseg.records import score_column
from trustseg.statistics import bootstrap_mean
from trustseg.training import train
from trustseg.uncertainty import AGGREGATIONS, MEASURES

SIZE: Final = 64
NOISE: Final = 0.25
RADII: Final = (0.0, 0.125)
FITTED: Final = 0.125
AT_MOST: Final = 0.1
TAU: Final = 0.5
DELTA: Final = 0.05
DRAWS: Final = 16
MEASURE: Final = "entropy"
AGGREGATION: Final = "soft_dice_confidence"
CERTIFIED: Final = (
    ("A: certified on average", 1, None),
    (f"B: certified with confidence {1 - DELTA:g}", 1, DELTA),
    (f"C: certified on average, {DRAWS} draws", DRAWS, None),
)
"""Name of each certified policy, draws of its calibration images, and delta."""

KINDS: Final = {"radius": pl.Float64, "of_these_images": pl.Float64, "certified": pl.Float64}
EXACT: Final = 1e-12  # a deviation so small that a noisy pass is one without noise

Aim = Callable[[Tensor, Tensor], Tensor]  # keeping margin and failing margin (m, B), in units of softness, to a value


class Rule(NamedTuple):
    """The name of a model, the model, the deviation of the noise that it decides under (0: none), and its policy."""

    name: str
    model: Segmenter
    noise: float
    policy: Policy | CertifiedPolicy


def joint(kept: Tensor, failed: Tensor) -> Tensor:
    """Return the logarithm of a smooth chance that an image is kept and fails."""
    return logsigmoid(kept) + logsigmoid(failed)


def product(kept: Tensor, failed: Tensor) -> Tensor:
    """Return that chance itself, which spends nothing on draws that are won or lost already."""
    return (kept.sigmoid() * failed.sigmoid()).clamp_min(1e-30)


AIMS: Final[Mapping[str, Aim]] = {"joint": joint, "product": product}


def outcomes(rule: Rule, images: Tensor, masks: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far scores lie below the threshold, soft Dice loss above 1 - tau, and which images are kept and fail.

    ``noise`` is (m, B, C, H, W); all three are (m, B).
    """
    shape = noise.shape[:2]
    belief = rule.model.belief((images + noise).flatten(0, 1))
    repeated = masks.expand(*noise.shape).flatten(0, 1)
    scores = call(AGGREGATIONS, AGGREGATION, kind="aggregation")(MEASURES[MEASURE](belief), belief.probability)
    lost = LOSSES["soft_dice"](belief, repeated) - (1 - TAU)
    harmed = (dice(belief.log_odds.detach() > 0, repeated) < TAU) & (scores.detach().double() <= rule.policy.threshold)
    return rule.policy.threshold - scores.view(shape), lost.view(shape), harmed.view(shape)


def drawn(rule: Rule, images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return noise (m, B, C, H, W) for some images; where there is none, a single draw of zeros."""
    if rule.noise == 0:
        return torch.zeros(1, *images.shape)
    return rule.noise * torch.randn(count, *images.shape, generator=generator)


def harm_of(rule: Rule, images: Tensor, masks: Tensor, *, draws: int, generator: torch.Generator) -> Tensor:
    """Return the share of noise draws in which each image is an undetected failure, (B,)."""
    total, done = torch.zeros(len(images)), 0
    while done < draws:
        noise = drawn(rule, images, min(8, draws - done), generator)
        with torch.no_grad():
            total += outcomes(rule, images, masks, noise)[2].float().sum(0)
        done += len(noise)
        if rule.noise == 0:
            break
    return total / done


def ascended(
    rule: Rule, images: Tensor, masks: Tensor, aim: Aim, *, radius: float, steps: int, draws: int, seed: torch.Generator
) -> Tensor:
    """Return images moved within an L2 ball up an aim, in expectation over noise that is drawn anew in each step."""
    moved = images.clone()
    for _ in range(steps):
        moved.requires_grad_(True)
        kept, failed, _ = outcomes(rule, moved, masks, drawn(rule, images, draws, seed))
        value = aim(kept / 0.03, failed / 0.1).mean(0).sum()
        (gradient,) = torch.autograd.grad(value, moved)
        length = gradient.flatten(1).norm(dim=1).clamp_min(1e-30).view(-1, 1, 1, 1)
        change = moved.detach() + 2.5 * radius / steps * gradient / length - images
        size = change.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        moved = images + change * (radius / size.clamp_min(1e-30)).clamp_max(1)
    return moved.detach()


def attacked(
    rule: Rule, images: Tensor, masks: Tensor, smaller: Tensor, *, radius: float, steps: int, draws: int
) -> Tensor:
    """Return the strongest candidate of each image: the clean one, the best at a smaller radius, and one per aim."""
    generator = derived_generator(0, "certified attack", f"{radius:g}")
    candidates = [images, smaller]
    for aim in AIMS.values():
        candidates.append(ascended(rule, images, masks, aim, radius=radius, steps=steps, draws=draws, seed=generator))
    harm = torch.stack(
        [
            harm_of(rule, one, masks, draws=16, generator=derived_generator(0, "certified choice", f"{radius:g}"))
            for one in candidates
        ]
    )
    best = harm.argmax(0)
    return torch.stack([candidates[int(which)][row] for row, which in enumerate(best)])


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
