"""Profiles of batch systems: one YAML file per site, every field to be set as ``slurm.FIELD=value``."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from trustseg.config.section import Section
from trustseg.config.values import value_of
from trustseg.errors import ConfigError, first_problem, unknown_name
from trustseg.yaml_files import parse_yaml, read_yaml

__all__ = ["PREFIX", "SlurmProfile", "load_profile"]

PREFIX: Final = "slurm."


class SlurmProfile(Section):
    """Resources of one cell, which is one task of a job array."""

    partition: str | None = Field(None, description="partition; null: the site's default")
    account: str | None = Field(None, description="account that is billed; null: the user's default")
    qos: str | None = Field(None, description="quality of service; null: the user's default")
    gpus_per_node: int = Field(1, ge=0, le=1, description="GPUs of a cell; 0: none")
    cpus_per_task: int = Field(4, ge=1, description="processor cores of a cell")
    mem_gb: float | None = Field(None, gt=0, description="memory of a cell in GB; null: the site's default")
    timeout_min: int | None = Field(None, ge=1, description="time limit of a job in minutes; must be given")
    requeues: int = Field(20, ge=0, description="how often a cell that reaches the limit is put back into the queue")
    signal_delay_s: int = Field(90, ge=1, description="seconds before the limit at which a job is told to stop")
    array_parallelism: int = Field(16, ge=1, description="cells that run at the same time, at most")
    setup: tuple[str, ...] = Field((), description="shell lines before a cell starts: module loads, environment")
    needs_account: bool = Field(False, description="whether the site refuses jobs without an account")
    units_per_gpu_hour: float | None = Field(None, gt=0, description="what the site bills; null: unknown")

    def most(self, cells: int) -> str:
        """Return what some cells cost in words if each uses its whole time limit once."""
        hours = cells * (self.timeout_min or 0) / 60
        kind = "GPU hours" if self.gpus_per_node else "hours of a job"
        billed = f" ({hours * self.units_per_gpu_hour:g} billing units)" if self.units_per_gpu_hour else ""
        return f"{hours:g} {kind}{billed}"


def load_profile(name: str, settings: Sequence[str] = ()) -> SlurmProfile:
    """Return a profile with some fields set.

    Args:
        name: a site in the package's ``study/sites``, or a YAML file of the fields of ``SlurmProfile``.
        settings: e.g. ``["slurm.timeout_min=240", "slurm.setup=[module load Python]"]``, as in ``load_run``.

    Raises:
        UnknownNameError: if there is no such profile or field.
        MissingFileError: if there is no such file.
        ConfigError: if the file holds no such fields, a value does not fit, or one that must be given is missing.

    Example:
        >>> load_profile("lucia", ["slurm.timeout_min=240", "slurm.account=lung"]).cpus_per_task
        8
    """
    content = _site(name) | dict(_field(setting) for setting in settings)
    try:
        profile = SlurmProfile.model_validate(content)
    except ValidationError as error:
        key, problem = first_problem(error)
        field = key.partition(".")[0]
        raise ConfigError(
            f"{PREFIX}{field}={content[field]!r}: {problem}; expected: "
            f"{SlurmProfile.model_fields[field].description}; set {PREFIX}{field}=..."
        ) from error
    if profile.timeout_min is None:
        raise ConfigError(
            f"profile '{name}' has no time limit; set for example {PREFIX}timeout_min=240: 'sinfo "
            '--format="%P %l"\' shows the longest of each partition'
        )
    if profile.needs_account and profile.account is None:
        raise ConfigError(f"profile '{name}' needs an account; set {PREFIX}account=NAME")
    return profile


def _site(name: str) -> dict[str, Any]:
    """Return the fields of a shipped site or of a file."""
    if name.endswith((".yaml", ".yml")):
        content = read_yaml(Path(name))
    else:
        shipped = {file.name.removesuffix(".yaml"): file for file in (files("trustseg") / "study" / "sites").iterdir()}
        if name not in shipped:
            raise unknown_name("profile", name, sorted(shipped))
        content = parse_yaml(shipped[name].read_text(encoding="utf-8"), where=f"profile '{name}'")
    if not isinstance(content, dict):
        raise ConfigError(f"'{name}' holds no fields, such as partition: gpu; see docs/studies.md")
    for field in content:
        if field not in SlurmProfile.model_fields:
            raise unknown_name(f"field of '{name}'", str(field), SlurmProfile.model_fields)
    return content


def _field(setting: str) -> tuple[str, Any]:
    """Return field and value of ``slurm.FIELD=value``."""
    key, _, text = setting.partition("=")
    field = key.removeprefix(PREFIX)
    if field not in SlurmProfile.model_fields:
        raise unknown_name(f"setting of {PREFIX.rstrip('.')}", field, SlurmProfile.model_fields)
    return field, value_of(SlurmProfile.model_fields[field].annotation, text, where=f"the value of {key}")
