"""A study: a run over a grid of values, its mixtures, and the wording of its report."""

import itertools
import math
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from trustseg.config.names import check_objective_of_bernoulli
from trustseg.config.run import RunConfig, refuse_unused
from trustseg.config.section import Section
from trustseg.errors import ConfigError

__all__ = ["MixtureConfig", "PhantomConfig", "ReportConfig", "StudyConfig"]


class PhantomConfig(Section):
    """The generated chest X-rays of a study that names no data."""

    train: int = Field(160, ge=0, description="generated images to train and validate on (study only)")
    test: int = Field(40, ge=0, description="generated images to test on (study only)")
    control: int = Field(20, ge=0, description="generated images without foreground (study only)")
    seed: int = Field(0, ge=0, description="seed of the generated images (study only)")


class MixtureConfig(Section):
    """Mixtures that are measured in addition to the single models of a study, without training."""

    ensemble: bool = Field(False, description="evaluate the deep ensemble of all seeds of each variant (study only)")
    mc_dropout: int = Field(
        0, ge=0, description="MC dropout samples of the first seed of each variant; 0: none (study only)"
    )
    dropout: float = Field(
        0.2, gt=0, lt=1, description="dropout rate for MC dropout of a model trained without dropout (study only)"
    )


class ReportConfig(Section):
    """The wording of the report and what it compares."""

    title: str | None = Field(None, description="title of the report; null: the study's name (study only)")
    question: str | None = Field(None, description="what the study asks, in a sentence (study only)")
    intended_use: str | None = Field(
        None, description="for what and by whom the model is meant to be used, for the first screen of the report"
    )
    population: str | None = Field(
        None, description="whose images were tested: source, years, devices; for the first screen of the report"
    )
    margin: float = Field(
        0.01, ge=0, lt=1, description="smallest difference that matters: only one beyond it is called better or worse"
    )
    baselines: tuple[dict[str, Any], ...] = Field(
        ({"adversarial.selection": "random"}, {"adversarial.selection": "none"}),
        description="settings of the variants that the others are compared with; comparisons with the first that a "
        "study has are its headline (study only)",
    )


_MOST_RUNS: Final = 10_000

Grid = dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]]


def _listed(grid: object) -> object:
    return [grid] if isinstance(grid, dict) else grid


class StudyConfig(RunConfig):
    """A run repeated over a grid of values."""

    phantoms: PhantomConfig = PhantomConfig()
    mixtures: MixtureConfig = MixtureConfig()
    report: ReportConfig = ReportConfig()

    name: str = Field(
        "study", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="name of the study's folder (study only)"
    )
    grid: Annotated[tuple[Grid, ...], BeforeValidator(_listed)] = Field(
        ({},),
        min_length=1,
        description="key -> list of values, all combinations are run; or a list of such grids (study only)",
    )

    @model_validator(mode="before")
    @classmethod
    def _head_of_the_grid(cls, content: object) -> object:
        """Give settings outside the grid the head of its first run, where all grids choose one: they are for that."""
        if not isinstance(content, dict):
            return content
        model, grids = content.get("model") or {}, _listed(content.get("grid"))
        if not isinstance(model, dict) or "head" in model or not isinstance(grids, list) or not grids:
            return content
        given = (grid.get("model.head") if isinstance(grid, dict) else None for grid in grids)
        heads = [list(values) if isinstance(values, list | tuple) else [] for values in given]
        return {**content, "model": {**model, "head": heads[0][0]}} if all(heads) else content

    def _chooses_head(self) -> bool:
        return super()._chooses_head() or any("model.head" in grid for grid in self.grid)

    def combinations(self) -> list[dict[str, Any]]:
        """Return the grid's keys with their values for each run, those of the first grid first."""
        return [
            dict(zip(grid, values, strict=True)) for grid in self.grid for values in itertools.product(*grid.values())
        ]

    @model_validator(mode="after")
    def _grid_ends(self) -> Self:
        count = sum(math.prod(map(len, grid.values())) for grid in self.grid)
        if count > _MOST_RUNS:
            raise ValueError(f"the grid has {count:,} runs, the maximum is {_MOST_RUNS:,}; use fewer values")
        return self

    @model_validator(mode="after")
    def _grids_of_beta_settings_have_a_beta_head(self) -> Self:
        if self.model.head == "bernoulli":
            for grid in self.grid:
                refuse_unused([] if "model.head" in grid else list(grid))
        return self

    @model_validator(mode="after")
    def _mixtures_can_be_made(self) -> Self:
        if self.mixtures.ensemble:
            self._check_seeds()
        if self.mixtures.ensemble or self.mixtures.mc_dropout:
            for attack in self.evaluation.attacks:
                try:
                    check_objective_of_bernoulli("objective", attack.objective or "cross_entropy")
                except ConfigError as error:
                    raise ConfigError(
                        f"the attack {attack.label} needs the evidence of a single model, which mixtures do not have; "
                        "choose the objective cross_entropy or margin, or disable mixtures"
                    ) from error
        return self

    def _check_seeds(self) -> None:
        """Raise unless a deep ensemble finds at least two seeds of each variant and fold."""
        seeds: dict[str, set[str]] = {}
        for values in self.combinations():
            others = (f"{key}={value}" for key, value in sorted(values.items()) if key != "training.seed")
            seeds.setdefault(", ".join(others), set()).add(str(values.get("training.seed")))
        for variant, found in seeds.items():
            if len(found) < 2:
                raise ConfigError(
                    f"mixtures.ensemble=true needs at least two seeds of each variant, got one{' of ' * bool(variant)}"
                    f"{variant}; set grid.training.seed=[0, 1, 2] or mixtures.ensemble=false"
                )
