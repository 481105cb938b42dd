"""The defaults, what wins over them, and parts of different sections that do not go together."""

from pathlib import Path

import pytest
from tests.config.given import refusal, written

from trustseg.config import DataConfig, RunConfig, load_run, load_study
from trustseg.errors import ConfigError
from trustseg.losses import LOSSES


def test_defaults_need_no_file() -> None:
    assert load_run(None) == RunConfig()


def test_overrides_win_over_the_file_in_their_order(tmp_path: Path) -> None:
    file = written(tmp_path, "training: {epochs: 3, batch_size: 2}\n")
    run = load_run(file, ["training.epochs=4", "training.epochs=5", "adversarial.measure.beta=vacuity"])
    assert (run.training.epochs, run.training.batch_size) == (5, 2)
    assert run.adversarial.measure.beta == "vacuity"


@pytest.mark.parametrize("term", [*(name for name, loss in LOSSES.items() if loss.facts.needs_beta), "soft_dice"])
def test_a_bernoulli_head_takes_no_evidential_loss(term: str) -> None:
    assert "known: binary_cross_entropy" in refusal(f"loss.bernoulli={term}")


@pytest.mark.parametrize("term", ["soft_dice", "kl_to_uniform"])
def test_a_penalty_is_no_data_term(term: str) -> None:
    assert f"unknown value of loss.beta '{term}'" in refusal(f"loss.beta={term}")


def test_kl_to_uniform_needs_prior_one() -> None:
    assert "set loss.kl_weight=0 or model.prior=1" in refusal(
        "model.prior=0.5", "model.head=beta", "loss.kl_weight=0.1"
    )
    assert load_run(None, ["model.prior=0.5", "model.head=beta", "loss.kl_weight=0"]).model.prior == 0.5
    assert load_run(None, ["model.prior=0.5", "model.head=bernoulli"]).model.prior == 0.5  # neither is used


@pytest.mark.parametrize(
    "setting", ["model.prior=0.5", "model.evidence=softplus", "loss.kl_weight=0.1", "loss.kl_epochs=3"]
)
def test_settings_of_a_beta_head_with_the_default_head(tmp_path: Path, setting: str) -> None:
    key, _, value = setting.partition("=")
    assert key in refusal(setting)
    load_run(None, ["loss.kl_weight=0"])  # the default changes nothing
    load_run(None, ["loss.kl_weight=0", "model.head=beta", setting])
    file = tmp_path / "study.yaml"
    file.write_text(f"grid: {{{key}: [{value}]}}\n")
    with pytest.raises(ConfigError, match=key):
        load_study(file)
    file.write_text("grid: [{model.head: [beta]}, {data.size: [64]}]\n")
    load_study(file, ["loss.kl_weight=0", setting])  # meant for the first of the two


def test_the_last_fold_exists() -> None:
    assert DataConfig(fold=4).fold == 4
    assert DataConfig(fold=0, folds=2).fold == 0


@pytest.mark.parametrize("architecture", ["deeplab_v3", "deeplab_v3_plus"])
def test_networks_that_average_an_image_to_a_pixel_need_two(architecture: str) -> None:
    words = refusal(f"model.architecture={architecture}", "training.batch_size=1")
    assert "training.batch_size=2" in words
    load_run(None, [f"model.architecture={architecture}", "training.batch_size=2"])


def test_the_region_loss_is_chosen_with_its_options() -> None:
    loss = load_run(None, ["loss.region={name: tversky, alpha: 0.2}", "loss.region_weight=2"]).loss
    assert (loss.region, loss.region_weight) == ("tversky(alpha=0.2)", 2)
    assert "did you mean 'alpha'?" in refusal("loss.region={name: tversky, alfa: 0.2}")
    assert "known: boundary, focal_tversky" in refusal("loss.region=kl_to_uniform")
    assert (
        load_run(None, ["model.head=beta", "loss.beta={name: focal_cross_entropy, gamma: 3}"]).loss.beta
        == "focal_cross_entropy(gamma=3)"
    )


def test_the_former_name_of_the_region_weight_is_read(tmp_path: Path) -> None:
    file = written(tmp_path, "loss: {dice_weight: 0.5}\n")
    assert load_run(file).loss.region_weight == 0.5
    assert load_run(file, ["loss.region_weight=0.25"]).loss.region_weight == 0.25
