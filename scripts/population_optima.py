"""What evidential losses ask for when the truth is known: train on pixels whose label is a coin of known bias.

    python scripts/population_optima.py docs/results/losses/optima.csv

A layer that can tell the biases apart sees draws of the label, fresh in every step. What it has learned after training
is put beside the minimum of the expected loss, found by scipy.
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn.functional import softplus

from trustseg.beliefs import Beta
from trustseg.losses import LOSSES, kl_to_uniform

TERMS = ("bayes_risk_cross_entropy", "bayes_risk_squared_error", "type_ii_likelihood")
WEIGHTS = (0.01, 0.05, 0.1, 1.0)
BIASES = (0.5, 0.7, 0.9, 0.99)


def loss(belief: Beta, masks: Tensor, term: str, weight: float) -> Tensor:
    """Return data term + weight * KL of each image (B,)."""
    return LOSSES[term](belief, masks) + weight * kl_to_uniform(belief, masks)


def minimum(term: str, weight: float, eta: float) -> tuple[float, float]:
    """Return alpha and beta that minimise the expected loss at P(y = 1) = eta."""

    def expected(logs: np.ndarray) -> float:
        alpha, beta = (1 + torch.tensor(np.exp(value), dtype=torch.float64).view(1, 1, 1, 1) for value in logs)
        belief, one = Beta(alpha, beta), torch.ones(1, 1, 1, 1, dtype=torch.float64)
        return float(eta * loss(belief, one, term, weight) + (1 - eta) * loss(belief, 0 * one, term, weight))

    starts = [(a, b) for a in (-3.0, 0.0, 3.0) for b in (-12.0, -3.0, 0.0)]
    options = {"xatol": 1e-6, "fatol": 1e-13, "maxiter": 4000, "maxfev": 4000}
    best = min(
        (minimize(expected, start, method="Nelder-Mead", options=options) for start in starts), key=lambda r: r.fun
    )
    alpha, beta = 1 + np.exp(best.x)
    return float(alpha), float(beta)


def learned(term: str, weight: float, *, steps: int, seed: int = 0) -> dict[float, tuple[float, float]]:
    """Return alpha and beta of each bias after training on fresh labels."""
    torch.manual_seed(seed)
    network = nn.Linear(len(BIASES), 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    which = torch.eye(len(BIASES)).repeat_interleave(1024, dim=0)
    eta = which @ torch.tensor(BIASES)
    for _ in range(steps):
        labels = (torch.rand(eta.shape, generator=generator) < eta).float()
        value = loss(_belief(network(which)), labels.view(1, 1, -1, 1), term, weight).sum()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        belief = _belief(network(torch.eye(len(BIASES))))
    pairs = zip(belief.alpha.flatten().tolist(), belief.beta.flatten().tolist(), strict=True)
    return dict(zip(BIASES, pairs, strict=True))


def _belief(logits: Tensor) -> Beta:
    evidence = softplus(logits)
    return Beta(1 + evidence[:, 0].view(1, 1, -1, 1), 1 + evidence[:, 1].view(1, 1, -1, 1))


def main() -> None:
    """Write one row for each term, weight and bias."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="CSV file to write")
    parser.add_argument("--steps", type=int, default=3000, help="training steps (default: %(default)s)")
    options = parser.parse_args()
    rows = []
    for term in TERMS:
        for weight in WEIGHTS:
            found = learned(term, weight, steps=options.steps)
            for eta in BIASES:
                (alpha, beta), (best_alpha, best_beta) = found[eta], minimum(term, weight, eta)
                rows.append(
                    {
                        "data_term": term,
                        "kl_weight": weight,
                        "eta": eta,
                        "alpha_learned": alpha,
                        "beta_learned": beta,
                        "p_learned": alpha / (alpha + beta),
                        "vacuity_learned": 2 / (alpha + beta),
                        "alpha_optimum": best_alpha,
                        "beta_optimum": best_beta,
                        "p_optimum": best_alpha / (best_alpha + best_beta),
                        "vacuity_optimum": 2 / (best_alpha + best_beta),
                    }
                )
            print(
                f"{term} {weight:g}: "
                + ", ".join(f"eta {eta}: {found[eta][0]:.2f} {found[eta][1]:.2f}" for eta in BIASES)
            )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows).with_columns(pl.col(pl.Float64).round(4)).write_csv(options.output)


if __name__ == "__main__":
    main()
