"""Settings of a trained model; the model itself has been loaded by then and is not looked at again."""

from pathlib import Path

import pytest

from trustseg.cli.options import settings_of, split_settings
from trustseg.errors import ConfigError
from trustseg.files import write_text
from trustseg.models.spec import SegmenterSpec

SPEC = SegmenterSpec("unet", "resnet18", "beta", channels=3, size=64)


def test_they_are_those_of_the_run_at_the_size_of_the_model(tmp_path: Path) -> None:
    write_text(tmp_path / "config.yaml", "data: {path: films, fold: 2, size: 32}\nmodel: {head: beta}\n")
    config = settings_of(tmp_path / "model", SPEC, ["data.path=others"])
    assert (str(config.data.path), config.data.fold, config.model.head) == ("others", 2, "beta")
    assert (config.data.size, config.data.channels) == (64, 3)
    write_text(tmp_path / "config.yaml", "data: {path: films}\n")
    settings_of(tmp_path / "model", SPEC, [])  # the default head, which is not that of the model, is no wish


def test_a_path_with_an_equals_sign_is_a_file() -> None:
    assert split_settings(["runs/lr=0.1/a.yaml", "data.path=b/c=d"]) == (
        Path("runs/lr=0.1/a.yaml"),
        ["data.path=b/c=d"],
    )


@pytest.mark.parametrize(
    "settings",
    [
        ["data.size=64", "data.size=96"],
        ["data.size=64", "data={size: 96}"],
        ["data={path: films, size: 64}", "data.size=96"],
        ["adversarial.measure.beta=vacuity", "adversarial={measure: {beta: entropy}}"],
    ],
)
def test_a_setting_given_twice_is_refused(settings: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"is set twice"):
        split_settings(settings)


def test_a_section_may_be_given_in_parts() -> None:
    settings = ["data={path: films}", "data.size=96", "data.fit=pad", "data.folds=3", "slurm.time=1", "training={"]
    assert split_settings(settings) == (None, settings)
