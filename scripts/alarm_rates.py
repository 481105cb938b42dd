"""Write how often the exchangeability tests raise the alarm: on calibration patients, and on what a model was tried on.

    python scripts/alarm_rates.py OUT.csv CELL [FOLDER ...] [CELL [FOLDER ...]] ...

A CELL holds policy.json and records.parquet; each FOLDER after it holds records of other images by the same model
(``trustseg evaluate CELL evaluation.populations=... -o FOLDER``). A row of the table tells in which share of random
groups of 25, 50 and 100 patients, one image each, the alarm was raised, and whether all patients raise it. In the rows
``calibration`` the groups are calibration patients and the others the reference, so that every alarm is false.
"""

import sys
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trustseg.deferral import Policy, load_policy
from trustseg.deferral.exchangeability import exchangeability_of, one_per_patient
from trustseg.tables import read_parquet, write_csv

GROUPS: Final = (25, 50, 100)
DRAWS: Final = 200

Floats = NDArray[np.float64]


def main(out: Path, folders: list[Path]) -> None:
    """Write the table."""
    rows: list[dict[str, object]] = []
    policy: Policy | None = None
    for folder in folders:
        found = load_policy(folder / "policy.json") if (folder / "policy.json").is_file() else policy
        if found is not None and (policy is None or found.model != policy.model):
            policy = found
            cell, reference = folder.name, np.array(policy.reference_scores)
            rows.append({"cell": cell, "condition": "calibration", "eps": 0.0, **_shares(reference, None)})
        if policy is None or not policy.reference_scores:
            sys.exit(f"'{folder}' has no policy with the scores of its calibration; fit it with this version")
        records = read_parquet(folder / "records.parquet")
        seen = {row["condition"] for row in rows if row["cell"] == cell}
        for (condition, eps), table in records.group_by("condition", "eps", maintain_order=True):
            if condition == "clean" and condition in seen:
                continue
            shares = _shares(reference, one_per_patient(table, policy.column))
            rows.append({"cell": cell, "condition": condition, "eps": eps, **shares})
        print(f"{folder.name}: done", flush=True)
    write_csv(pl.DataFrame(rows), out)


def _shares(reference: Floats, scores: Floats | None) -> dict[str, object]:
    """Return group size -> share of groups with an alarm; without ``scores``, of groups of the reference."""
    rng = np.random.default_rng(0)
    count = len(reference if scores is None else scores)
    found: dict[str, object] = {"patients": count}
    for size in GROUPS:
        alarms = []
        for _ in range(DRAWS):
            order = rng.permutation(reference if scores is None else scores)
            known = reference if scores is not None else order[size:]
            alarms.append(exchangeability_of(known, order[:size]).differs)
        found[f"alarm_{size}"] = round(float(np.mean(alarms)), 3) if size < count else None
    whole = None if scores is None else exchangeability_of(reference, rng.permutation(scores))
    return found | {
        "alarm_all": None if whole is None else whole.differs,
        "martingale": None if whole is None else float(f"{whole.martingale:.3g}"),
        "p_value": None if whole is None else float(f"{whole.p_value:.2g}"),
    }


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
