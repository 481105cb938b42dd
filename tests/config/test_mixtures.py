"""Mixtures of a study: what can be combined, and what is refused before anything is trained."""

from pathlib import Path

import pytest

from trustseg.config import MixtureConfig, StudyConfig, load_study
from trustseg.errors import ConfigError

SEEDS = "grid.training.seed=[0, 1]"
AIMED = "evaluation.attacks=[{name: pgd, eps: [4/255], objective: evidence_margin}]"


def study(tmp_path: Path, *settings: str) -> StudyConfig:
    (tmp_path / "study.yaml").write_text("grid: {model.head: [bernoulli, beta]}\n")
    return load_study(tmp_path / "study.yaml", settings)


def test_a_study_makes_no_mixtures_unless_asked(tmp_path: Path) -> None:
    assert study(tmp_path).mixtures == MixtureConfig(ensemble=False, mc_dropout=0, dropout=0.2)


def test_an_ensemble_needs_two_seeds_of_every_variant(tmp_path: Path) -> None:
    assert study(tmp_path, "mixtures.ensemble=true", SEEDS).mixtures.ensemble
    sentence = r"got one of model\.head=bernoulli; set grid\.training\.seed=\[0, 1, 2\]"
    for given in ((), ("grid.training.seed=[4]",), ("training.seed=1",)):
        with pytest.raises(ConfigError, match=sentence):
            study(tmp_path, "mixtures.ensemble=true", *given)
    assert study(tmp_path, "mixtures.mc_dropout=20").mixtures.mc_dropout == 20  # one seed is enough for it


def test_seeds_are_counted_in_each_fold_and_over_all_grids(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(
        "mixtures: {ensemble: true}\n"
        "grid:\n"
        "- {training.seed: [0], data.fold: [0, 1]}\n"
        "- {data.fold: [0], training.seed: [1]}\n"
    )
    with pytest.raises(ConfigError, match=r"got one of data\.fold=1"):
        load_study(file)
    file.write_text(file.read_text().replace("data.fold: [0]", "data.fold: [1, 0]"))
    assert len(load_study(file).combinations()) == 4
    file.write_text("mixtures: {ensemble: true}\n")
    with pytest.raises(ConfigError, match="got one; set"):
        load_study(file)


@pytest.mark.parametrize("mixtures", ["{ensemble: true}", "{mc_dropout: 5}"])
def test_an_attack_on_the_evidence_of_one_model_fits_no_mixture(tmp_path: Path, mixtures: str) -> None:
    settings = (SEEDS, "grid.model.head=[beta]", AIMED)
    assert study(tmp_path, *settings).evaluation.attacks[0].objective == "evidence_margin"
    with pytest.raises(ConfigError, match=r"the attack pgd_evidence_margin needs the evidence of a single model"):
        study(tmp_path, *settings, f"mixtures={mixtures}")
    assert study(tmp_path, SEEDS, "grid.model.head=[beta]", AIMED.replace("evidence_", ""), f"mixtures={mixtures}")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("mixtures.mc_dropout=-1", "expected integer >= 0"),
        ("mixtures.mc_dropout=true", "expected integer >= 0"),
        ("mixtures.dropout=0", "expected number > 0, < 1"),
        ("mixtures.dropout=1", "expected number > 0, < 1"),
        ("mixtures.ensemble=3", "expected true | false"),
        ("mixtures.ensembles=true", "did you mean 'mixtures.ensemble'?"),
        ("grid.mixtures.mc_dropout=[5]", "unknown key 'mixtures'"),
    ],
)
def test_values_that_do_not_fit(tmp_path: Path, setting: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        study(tmp_path, setting)
    assert words in str(refused.value)
