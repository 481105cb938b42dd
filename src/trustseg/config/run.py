"""A run: its sections, and which of their values do not go together."""

from collections.abc import Sequence
from functools import reduce
from typing import Final, Self

from pydantic import model_validator

from trustseg.config.adversarial import AdversarialConfig, check_steps
from trustseg.config.data import DataConfig
from trustseg.config.evaluation import EvaluationConfig
from trustseg.config.names import (
    allowed_names,
    check_alignment,
    check_attack,
    check_counted,
    check_names,
    check_objective_of_bernoulli,
    check_signs,
    pools_to_a_pixel,
)
from trustseg.config.section import Section
from trustseg.config.training import LossConfig, ModelConfig, TrainingConfig

__all__ = ["RunConfig", "refuse_unused"]

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
        check_alignment(self.adversarial, evidential=self.model.head == "beta")
        check_signs(self.adversarial.selection, (self.adversarial.measure.beta, self.adversarial.measure.bernoulli))
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
            changed = self.model_dump(include={"model", "loss"}, exclude_defaults=True)
            refuse_unused([f"{section}.{key}" for section, values in changed.items() for key in values])
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
        for key, part in (("adversarial", self.adversarial), ("evaluation.deferral", self.evaluation.deferral)):
            measure = part.measure.beta if self.model.head == "beta" else part.measure.bernoulli
            check_counted(f"{key}.aggregation", [part.aggregation], [measure])
        check_counted("evaluation.aggregations", self.evaluation.aggregations, self.evaluation.measures)
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


def refuse_unused(keys: Sequence[str]) -> None:
    """Raise a ValueError if one of the keys is of a beta head: a bernoulli head is to be trained."""
    if unused := [key for key in _OF_BETA_ONLY if key in keys]:
        raise ValueError(f"a bernoulli head does not use {', '.join(unused)}; set model.head=beta, or leave it out")
