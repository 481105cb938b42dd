"""A run and a study: their sections, and which values do not go together."""

import itertools
import math
from collections.abc import Sequence
from functools import reduce
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from trustseg.config.adversarial import AdversarialConfig, check_head, check_steps
from trustseg.config.data import DataConfig
from trustseg.config.evaluation import EvaluationConfig
from trustseg.config.mixtures import MixtureConfig, check_attacks_on_mixtures, check_seeds
from trustseg.config.names import (
    allowed_names,
    check_attack,
    check_counted,
    check_names,
    check_objective_of_bernoulli,
    pools_to_a_pixel,
)
from trustseg.config.report import ReportConfig
from trustseg.config.section import Section
from trustseg.config.training import LossConfig, ModelConfig, TrainingConfig

__all__ = [
    "AdversarialConfig",
    "DataConfig",
    "LossConfig",
    "MixtureConfig",
    "ModelConfig",
    "PhantomConfig",
    "ReportConfig",
    "RunConfig",
    "StudyConfig",
    "TrainingConfig",
]


_OF_BETA_ONLY: Final = (
    *("model.evidence", "model.prior"),
    *("loss.beta", "loss.kl_weight", "loss.kl_epochs", "loss.kl_schedule", "loss.vacuity_correction"),
)


class RunConfig(Section):
    """Everything one training and evaluation needs."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    adversarial: AdversarialConfig = AdversarialConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for key in allowed_names():
            if not key.startswith("evaluation.attacks."):  # each attack of the list has names of its own
                value = reduce(getattr, key.split("."), self)
                check_names(key, *([value] if isinstance(value, str) else value))
        for attack in self.evaluation.attacks:
            check_attack(attack)
        return self

    @model_validator(mode="after")
    def _head_fits(self) -> Self:
        check_head(self.adversarial, self.model.head)
        check_steps(self.adversarial, accumulate=self.training.accumulate, compiled=self.training.compile)
        if self.model.head == "bernoulli":
            if self.adversarial.objective != "divergence":  # which both heads have
                check_objective_of_bernoulli("adversarial.objective", self.adversarial.objective)
            for attack in self.evaluation.attacks:
                if attack.objective is not None:
                    check_objective_of_bernoulli("evaluation.attacks objective", attack.objective)
        elif self.model.prior != 1 and self.loss.kl_weight > 0:
            raise ValueError(
                f"loss.kl_weight={self.loss.kl_weight:g} regularises towards Beta(1, 1) and needs model.prior=1, "
                f"got model.prior={self.model.prior:g}; set loss.kl_weight=0 or model.prior=1"
            )
        return self

    @model_validator(mode="after")
    def _beta_settings_have_a_beta_head(self) -> Self:
        """Refuse what a bernoulli head never reads; one that was chosen by name may carry settings of other runs."""
        if self.model.head == "bernoulli" and not self._chooses_head():
            sections = {"model": self.model.model_dump(exclude_defaults=True)}
            sections["loss"] = self.loss.model_dump(exclude_defaults=True)
            set_here = [f"{section}.{key}" for section, values in sections.items() for key in values]
            _refuse_unused([key for key in _OF_BETA_ONLY if key in set_here])
        return self

    def _chooses_head(self) -> bool:
        return "head" in self.model.model_fields_set

    @model_validator(mode="after")
    def _batches_can_be_normalised(self) -> Self:
        if self.training.batch_size == 1 and pools_to_a_pixel(self.model.architecture):
            raise ValueError(
                f"{self.model.architecture} averages each image to one pixel, so batch normalisation needs more than "
                "one image; set training.batch_size=2 or more, or another model.architecture"
            )
        return self

    @model_validator(mode="after")
    def _measures_rank(self) -> Self:
        """Check that every score of an image can tell images apart, and that no two rank pixels alike."""
        measure = self.adversarial.measure
        used = measure.beta if self.model.head == "beta" else measure.bernoulli
        check_counted("adversarial.aggregation", [self.adversarial.aggregation], [used])
        check_counted("evaluation.aggregations", self.evaluation.aggregations, self.evaluation.measures)
        deferral = self.evaluation.deferral
        deferred = deferral.measure.beta if self.model.head == "beta" else deferral.measure.bernoulli
        check_counted("evaluation.deferral.aggregation", [deferral.aggregation], [deferred])
        given = {"entropy", "variance"} & set(self.evaluation.measures)
        if len(given) == 2:
            raise ValueError(
                "evaluation.measures holds entropy and variance, which rank pixels identically; remove one of them"
            )
        if not given:
            raise ValueError(
                f"evaluation.measures ({', '.join(self.evaluation.measures) or 'empty'}) needs one that every head "
                "has; add entropy or variance"
            )
        return self


def _refuse_unused(keys: Sequence[str]) -> None:
    """Raise an error if a bernoulli head is to be trained with settings of a beta head."""
    if keys:
        raise ValueError(f"a bernoulli head does not use {', '.join(keys)}; set model.head=beta, or leave it out")


class PhantomConfig(Section):
    """The generated chest X-rays of a study that names no data."""

    train: int = Field(160, ge=0, description="generated images to train and validate on (study only)")
    test: int = Field(40, ge=0, description="generated images to test on (study only)")
    control: int = Field(20, ge=0, description="generated images without foreground (study only)")
    seed: int = Field(0, ge=0, description="seed of the generated images (study only)")


_MOST_RUNS: Final = 10_000

Grid = dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]]


def _listed(grid: object) -> object:
    """Return a grid as a list of one."""
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
        heads = [list(grid.get("model.head") or ()) if isinstance(grid, dict) else [] for grid in grids]
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
                if "model.head" not in grid:
                    _refuse_unused([key for key in _OF_BETA_ONLY if key in grid])
        return self

    @model_validator(mode="after")
    def _mixtures_can_be_made(self) -> Self:
        if self.mixtures.ensemble:
            check_seeds(self.combinations())
        if self.mixtures.ensemble or self.mixtures.mc_dropout:
            check_attacks_on_mixtures(self.evaluation.attacks)
        return self
