"""Every YAML that is shipped is trained and measured for one step, on a few generated images."""

from pathlib import Path

import pytest

import trustseg
from trustseg.config import load_study
from trustseg.data import open_dataset, write_phantoms
from trustseg.files import read_json
from trustseg.study.cell import prepare_cell, run_cell
from trustseg.study.grid import cells_of
from trustseg.study.hypotheses import FILE as HYPOTHESES

SHIPPED = (Path(trustseg.__file__).parent / "experiments").glob("*.yaml")
EXPERIMENTS = [
    pytest.param(path, marks=() if path.stem == "qata_cpu" else pytest.mark.slow, id=path.stem)
    for path in sorted(SHIPPED)
    if not path.name.endswith(HYPOTHESES)
]
FEW = ("evaluation.masking_checks=0", "evaluation.shifts=[jpeg]", "evaluation.severities=[3]")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("data") / "phantoms", train=12, test=2, control=0, size=32, jobs=1)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_last_cell_of_each_experiment_runs(experiment: Path, phantoms: Path, tmp_path: Path) -> None:
    small = ["data.size=32", "training.epochs=1", "training.precision=32-true", "training.batch_size=4"]
    measured = ["evaluation.attacks=[{name: fgsm, eps: [4/255]}]", *FEW]
    study = load_study(experiment, [*small, *measured, "adversarial.warmup_epochs=0", f"data.path={phantoms}"])
    pack = open_dataset(phantoms, size=32, cache=tmp_path / "cache")
    cell = [cell for cell in cells_of(study, data_digest=pack.digest) if cell.mixture is None][-1]
    prepare_cell(cell, tmp_path / cell.name)
    run_cell(tmp_path / cell.name, cell.config, pack)
    assert read_json(tmp_path / cell.name / "done.json")["epochs"] == 1
    assert (tmp_path / cell.name / "records.parquet").is_file()
