"""Profiles: what a site allows, what must be given, and a sentence for what does not fit."""

from pathlib import Path

import pytest

from trustseg.errors import ConfigError, MissingFileError, UnknownNameError
from trustseg.study.profiles import load_profile


def test_lucia_keeps_to_its_rules() -> None:
    lucia = load_profile("lucia", ["slurm.account=lung", "slurm.timeout_min=240"])
    assert (lucia.partition, lucia.gpus_per_node, lucia.cpus_per_task, lucia.mem_gb) == ("gpu", 1, 8, 60)
    assert lucia.most(10) == "40 GPU hours (5120 billing units)"


def test_fields_are_set_as_yaml() -> None:
    profile = load_profile(
        "generic", ["slurm.timeout_min=30", "slurm.gpus_per_node=0", "slurm.setup=[module load Python, umask 7]"]
    )
    assert profile.setup == ("module load Python", "umask 7")
    assert profile.most(4) == "2 hours of a job"


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("generic", [], r"no time limit; set for example slurm\.timeout_min=240"),
        ("lucia", ["slurm.timeout_min=60"], r"needs an account; set slurm\.account=NAME"),
        ("generic", ["slurm.timeout_min=0"], r"slurm\.timeout_min=0: .*time limit of a job in minutes"),
        ("generic", ["slurm.gpus_per_node=4"], r"slurm\.gpus_per_node=4: .*GPUs of a cell"),
        ("generic", ["slurm.setup=[a"], r"is not YAML"),
    ],
)
def test_what_does_not_fit(name: str, settings: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_profile(name, settings)


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown profile 'lucie'; did you mean 'lucia'"):
        load_profile("lucie")
    with pytest.raises(UnknownNameError, match="did you mean 'timeout_min'"):
        load_profile("generic", ["slurm.timeout_mn=5"])


def test_a_site_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text("{partition: small, mem_gb: 8, timeout_min: 60}")
    profile = load_profile(str(file), ["slurm.mem_gb=9"])
    assert (profile.partition, profile.mem_gb, profile.timeout_min) == ("small", 9, 60)
    file.write_text("partitoin: small")
    with pytest.raises(UnknownNameError, match="did you mean 'partition'"):
        load_profile(str(file))
    file.write_text("[small]")
    with pytest.raises(ConfigError, match="holds no fields"):
        load_profile(str(file))
    with pytest.raises(MissingFileError):
        load_profile(str(tmp_path / "none.yaml"))
