"""The conditions that a model is measured under: attacks, natural shifts, other populations; and what is measured."""

import re
from collections import Counter
from collections.abc import Mapping
from itertools import combinations, pairwise
from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from trustseg.config.names import ART, all_options, check_attack_options
from trustseg.config.section import AggregationName, Budget, FolderOrFile, NameWithOptions, Section

__all__ = ["AttackConfig", "DeferralConfig", "EvaluationConfig", "MeasureConfig", "MinimalConfig"]


class AttackConfig(Section):
    """One attack of the evaluation at a ladder of budgets; its further options are keys of their own."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description="attack; art:NAME is one of the Adversarial Robustness Toolbox")
    eps: tuple[Budget, ...] = Field(min_length=1, description="budgets in pixel units of [0, 1], e.g. [1/255, 4/255]")
    steps: int | None = Field(None, ge=1, description="gradient steps or queries; null: the default of the attack")
    restarts: int | None = Field(None, ge=1, description="random restarts (pgd); null: 1")
    norm: Literal["linf", "l2"] | None = Field(
        None, description="norm of the budget; l2: over the whole image; null: linf"
    )
    objective: str | None = Field(None, description="objective of the attack; null: its default")
    preset: Literal["quick", "standard", "thorough"] | None = Field(
        None, description="preset of the attack suite; null: quick"
    )
    parameters: dict[str, bool | int | float | str] = Field(
        {}, description="further parameters of an attack of the Adversarial Robustness Toolbox"
    )

    @property
    def options(self) -> dict[str, Any]:
        """Return the options that are given, by name."""
        given = {option: getattr(self, option) for option in ("steps", "restarts", "norm", "objective", "preset")}
        return {option: value for option, value in (given | (self.model_extra or {})).items() if value is not None}

    @property
    def own_options(self) -> dict[str, Any]:
        """Return the options that are given but for the objective, which every attack has."""
        return {option: value for option, value in self.options.items() if option != "objective"}

    @property
    def toolbox(self) -> str | None:
        """Return the name of the attack in the Adversarial Robustness Toolbox, None if it is one of ours."""
        return self.name.removeprefix(ART) if self.name.startswith(ART) else None

    @property
    def label(self) -> str:
        """Return the name of the condition: the attack's, with the options that are not the usual ones."""
        options = {option: value for option, value in self.options.items() if value != _USUAL.get(option)}
        steps = options.get("steps", "")
        parts = [self.name.replace(":", "_").lower() + ("" if (self.name, steps) == ("pgd", 20) else str(steps))]
        parts += [str(options[option]) for option in ("norm", "objective", "preset") if option in options]
        parts += [f"x{options['restarts']}"] if "restarts" in options else []
        parts += [f"{name}{value}".lower() for name, value in {**(self.model_extra or {}), **self.parameters}.items()]
        return re.sub(r"[^a-z0-9_]", "p", "_".join(parts))

    @model_validator(mode="after")
    def _budgets_fit(self) -> Self:
        if self.norm != "l2" and max(self.eps) > 1:
            raise ValueError(
                f"eps={max(self.eps):g} is above 1, the range of a pixel; write 4/255 for four grey levels"
            )
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _name_comes_first(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Complain of an unknown attack or option before complaining of what its options hold or lack."""
        try:
            return handler(value)
        except ValidationError:
            if isinstance(value, Mapping) and isinstance(value.get("name"), str):
                check_attack_options(value["name"], [key for key in value if key not in cls.model_fields])
            raise


_USUAL: Final[dict[str, int | str]] = {"norm": "linf", "objective": "cross_entropy", "restarts": 1, "preset": "quick"}

_LADDER = tuple(level / 255 for level in (1, 2, 4, 8))


class MeasureConfig(Section):
    """The uncertainty measure that scores images, by head."""

    bernoulli: str = Field("entropy", description="measure for a bernoulli head")
    beta: str = Field("epistemic_variance", description="measure for a beta head")


class DeferralConfig(Section):
    """Which cases go to a human: a policy fitted on the validation split, then frozen."""

    measure: MeasureConfig = Field(MeasureConfig(), description="uncertainty measure for image scores")
    aggregation: AggregationName = Field(
        "soft_dice_confidence", description="how the uncertainty map becomes an image score"
    )
    target: Literal["review_rate", "risk", "missed_lesions"] = Field("review_rate", description="rate that is bounded")
    at_most: float = Field(0.2, gt=0, lt=1, description="upper bound of the target")
    tau: float = Field(0.5, gt=0, lt=1, description="Dice below which a kept case counts as a failure")


class MinimalConfig(Section):
    """The smallest budget that breaks each image, found by bisection."""

    tau: float | None = Field(
        None, ge=0, lt=1, description="Dice at or below which an image counts as broken, e.g. 0.5; null: no search"
    )
    eps: tuple[Budget, ...] = Field(
        (0.25 / 255, 0.5 / 255, *_LADDER),
        min_length=1,
        description="ladder of L-inf budgets, increasing, in pixel units of [0, 1]",
    )
    steps: int = Field(20, ge=1, description="PGD steps per objective and budget")
    halvings: int = Field(4, ge=0, description="bisection steps between two budgets of the ladder")

    @model_validator(mode="after")
    def _budgets_rise(self) -> Self:
        if not all(low < high for low, high in pairwise([0.0, *self.eps, 1.0 + 1e-9])):
            raise ValueError(f"eps must be increasing, above 0 and at most 1, got {[*self.eps]}")
        return self


class EvaluationConfig(Section):
    """Under which conditions a model is measured."""

    images: int | None = Field(
        None, ge=1, description="number of images to evaluate, one of each patient first; null: all"
    )
    attacks: tuple[AttackConfig, ...] = Field(
        (AttackConfig(name="fgsm", eps=_LADDER), AttackConfig(name="pgd", eps=_LADDER)),
        description="attacks and budgets",
    )
    shifts: tuple[NameWithOptions, ...] = Field(
        (),
        description="natural shifts; all: the standard ones; extended: every one; {name: nrtk:NAME, PARAMETER: [five "
        "values]}: an operator of nrtk",
    )
    severities: tuple[Annotated[int, Field(ge=1, le=5)], ...] = Field(
        (1, 3, 5), min_length=1, description="severities of the shifts, 1 to 5"
    )
    populations: dict[str, FolderOrFile] = Field(
        {}, description="other populations, for out-of-distribution detection: name -> folder or pack"
    )
    masking_checks: int = Field(0, ge=0, description="number of test images for gradient-masking checks; 0: none")
    surrogate: FolderOrFile | None = Field(
        None, description="model folder for the transfer check; null: in a study, another cell"
    )
    minimal: MinimalConfig = MinimalConfig()
    deferral: DeferralConfig = DeferralConfig()
    metrics: tuple[NameWithOptions, ...] = Field(
        ("sensitivity", "precision", "hausdorff_95", "surface_dice", "lesion_f1", "area_error"),
        description="metrics of each predicted mask in addition to Dice and IoU; distances in pixels of data.size",
    )
    measures: tuple[str, ...] = Field(
        ("entropy", "mutual_information", "epistemic_variance", "vacuity"),
        description="uncertainty measures, including entropy or variance; those that a head lacks are left out",
    )
    aggregations: tuple[AggregationName, ...] = Field(
        ("mean", "quantile_mean", "foreground_mean"), min_length=1, description="image scores"
    )
    batch_size: int = Field(16, ge=1, description="images per forward pass")
    gallery: int = Field(4, ge=0, description="number of example images for the report; 0: none")

    @model_validator(mode="before")
    @classmethod
    def _former_names(cls, content: object) -> object:
        """Read ``suspicions``, which ``masking_checks`` was called; what was set last counts."""
        if not isinstance(content, dict):
            return content
        return {"masking_checks" if key == "suspicions" else key: value for key, value in content.items()}

    @property
    def shift_names(self) -> tuple[str, ...]:
        """Return the names of the shifts, ``all`` and ``extended`` written out."""
        from trustseg.shifts import shift_names

        return shift_names(*self.shifts)

    @model_validator(mode="after")
    def _nothing_twice(self) -> Self:
        conditions = [f"{attack.label} at eps={eps:.6f}" for attack in self.attacks for eps in attack.eps if eps > 0]
        for key in ("attacks", "shifts", "severities", "metrics", "measures", "aggregations"):
            names = Counter(conditions if key == "attacks" else getattr(self, key))
            if twice := [name for name, count in names.items() if count > 1]:
                raise ValueError(f"{key} holds '{twice[0]}' twice; remove one")
        for one, other in combinations(self.attacks, 2):
            if one.name == other.name and set(one.eps) & set(other.eps) and all_options(one) == all_options(other):
                raise ValueError(f"attacks holds '{one.name}' twice, once with its defaults written out; remove one")
        return self
