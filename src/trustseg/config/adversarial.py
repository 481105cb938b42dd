"""The section of adversarial training, and which of its values do not go together."""

from collections.abc import Mapping
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from trustseg.config.evaluation import MeasureConfig
from trustseg.config.names import needs_evidence, training_attack
from trustseg.config.section import AggregationName, Budget, NameWithOptions, Section
from trustseg.entries import name_in

__all__ = ["WITH_FREE", "AdversarialConfig", "AlignmentConfig", "check_head", "check_steps"]

WITH_FREE: Final[Mapping[str, object]] = {
    "selection": "random",
    "fraction": 1.0,
    "fraction_start": None,
    "mode": "replace",
    "loss": "mixed",
    "objective": "cross_entropy",
    "pixel_weight": "none",
    "weight_perturbation": 0.0,
    "grad_align": 0.0,
}
"""What free adversarial training leaves no choice in: every image is perturbed, by the gradient of the loss itself."""


class AlignmentConfig(Section):
    """How beliefs about clean and attacked images are drawn together by the losses trades, ev_at and strength."""

    kl_weight: float = Field(6.0, ge=0, description="weight of the divergence (trades)")
    squared_weight: float = Field(20.0, ge=0, description="weight of the squared log-odds difference (ev_at, strength)")
    cross_entropy_weight: float = Field(4.0, ge=0, description="weight of the cross-entropy (ev_at, strength)")
    strength_weight: float = Field(1.0, ge=0, description="weight of the strength of evidence (strength)")
    divergence: Literal["log_strength", "symmetric_kl"] = Field(
        "log_strength", description="how strengths of evidence are compared (strength)"
    )
    one_sided: bool = Field(False, description="only attacked images surer than the clean one count (log_strength)")

    @model_validator(mode="after")
    def _has_two_sides(self) -> Self:
        if self.one_sided and self.divergence == "symmetric_kl":
            raise ValueError("one_sided needs divergence=log_strength, got symmetric_kl; set one_sided=false")
        return self


class AdversarialConfig(Section):
    """Which images of a batch are attacked during training, and how."""

    selection: str = Field("none", description="which images are attacked")
    fraction: float = Field(0.5, gt=0, le=1, description="share of the batch that is attacked")
    fraction_start: float | None = Field(
        None, gt=0, le=1, description="share attacked right after the warm-up, then a ramp to fraction; null: no ramp"
    )
    threshold: float | None = Field(None, description="score above which images are attacked (selection=threshold)")
    scores: Literal["fresh", "memory"] = Field(
        "fresh", description="scores from one more forward pass, or from the last time an image was trained on clean"
    )
    refresh_epochs: int = Field(5, ge=1, description="age of a remembered score at which its image is left clean")
    mode: Literal["replace", "append"] = Field("replace", description="whether the clean originals leave the batch")
    weight: float = Field(1.0, gt=0, description="weight of an adversarial image's loss against a clean one's")
    loss: Literal["mixed", "trades", "ev_at", "strength"] = Field(
        "mixed", description="labels on both kinds of images, or labels on clean ones and an alignment of the attacked"
    )
    alignment: AlignmentConfig = AlignmentConfig()
    pixel_weight: Literal["none", "entropy", "margin", "vacuity", "mutual_information", "dissonance"] = Field(
        "none", description="what weighs the pixels of adversarial images"
    )
    weight_perturbation: float = Field(
        0.0, ge=0, lt=1, description="length of the adversarial step of the weights against their own; 0: none"
    )
    attack: NameWithOptions = Field(
        "fgsm", description="training attack; free: no pass of its own, one gradient for both"
    )
    replays: int = Field(4, ge=1, description="how often free training takes a step on the same batch")
    grad_align: float = Field(
        0.0, ge=0, description="weight of the misalignment of gradients at an image and near it; 0: none"
    )
    eps: Budget = Field(4 / 255, le=1, description="L-inf budget in pixel units of [0, 1]; 4/255 = four grey levels")
    steps: int = Field(7, ge=1, description="steps of the training attacks that take more than one")
    objective: str = Field("cross_entropy", description="what the attack maximises; divergence: without labels")
    measure: MeasureConfig = Field(MeasureConfig(), description="uncertainty measure that scores images")
    aggregation: AggregationName = Field("soft_dice_confidence", description="map to image score")
    warmup_epochs: int = Field(2, ge=0, description="epochs without attacks at the start")
    ramp_epochs: int = Field(5, ge=0, description="epochs over which eps, fraction and pixel weights then grow")

    @model_validator(mode="after")
    def _selection_fits(self) -> Self:
        if self.selection == "threshold" and self.threshold is None:
            raise ValueError("selection=threshold came without a threshold, a score was expected; set threshold=0.05")
        if self.selection == "proportional" and "differential_entropy" in (self.measure.beta, self.measure.bernoulli):
            raise ValueError(
                "selection=proportional draws images in proportion to scores of at least 0, measure is "
                "differential_entropy, which is negative; set another measure such as mutual_information"
            )
        return self

    @model_validator(mode="after")
    def _loss_fits(self) -> Self:
        if self.loss != "mixed" and self.mode == "replace":
            raise ValueError(
                f"loss={self.loss} compares attacked images with their clean originals, which mode=replace takes out "
                "of the batch; set mode=append"
            )
        if self.loss == "strength" and self.alignment.strength_weight == 0:
            raise ValueError(
                "loss=strength with alignment.strength_weight=0 is ev_at, a weight above 0 was expected; "
                "set loss=ev_at or raise the weight"
            )
        return self

    @property
    def takes_one_step(self) -> bool:
        """Return whether one gradient is all that the attack takes."""
        attack = training_attack(self.attack)
        return attack is not None and attack[0].facts.single_step

    @model_validator(mode="after")
    def _attack_fits(self) -> Self:
        attack = None if self.objective == "cross_entropy" else training_attack(self.attack)
        if attack is None:
            return self
        facts, options = attack[0].facts, attack[1]
        if self.objective == "divergence" and (facts.starts_at_image or options.get("random_start") is False):
            raise ValueError(
                f"objective=divergence has no gradient at the clean image, where {self.attack} starts, an attack with "
                "a random start was expected; set attack=rs_fgsm or attack=pgd"
            )
        if facts.weighs_cross_entropy and self.objective != name_in(self.attack):
            raise ValueError(
                f"{self.attack} weighs cross-entropy, objective=cross_entropy was expected, got {self.objective}; "
                "set attack=pgd to follow another objective"
            )
        return self

    @model_validator(mode="after")
    def _free_fits(self) -> Self:
        if self.attack == "free" and self.selection != "none":
            for key, value in WITH_FREE.items():
                if getattr(self, key) != value:
                    wanted = f"{key}={'null' if value is None else f'{value:g}' if isinstance(value, float) else value}"
                    raise ValueError(
                        f"attack=free perturbs every image by the gradient of its own training loss, {wanted} was "
                        f"expected, got {getattr(self, key)}; set {wanted} or another attack"
                    )
        return self


def check_head(adversarial: AdversarialConfig, head: str) -> None:
    """Check that a model with this head has the evidence that adversarial training asks for.

    Raises:
        ValueError: if it does not.
    """
    if head == "beta":
        return
    if adversarial.loss in ("ev_at", "strength"):
        raise ValueError(
            f"adversarial.loss={adversarial.loss} aligns evidence and needs a beta head, model.head is {head}; "
            "set adversarial.loss=trades or model.head=beta"
        )
    if adversarial.pixel_weight not in ("none", "margin") and needs_evidence(adversarial.pixel_weight):
        raise ValueError(
            f"adversarial.pixel_weight={adversarial.pixel_weight} is measured on evidence and needs a beta head, "
            f"model.head is {head}; set adversarial.pixel_weight=entropy or model.head=beta"
        )


def check_steps(adversarial: AdversarialConfig, *, accumulate: int, compiled: bool) -> None:
    """Check that a step of the training can do what adversarial training asks for.

    Args:
        adversarial: the section.
        accumulate: batches whose gradients make one step.
        compiled: whether the network is compiled.

    Raises:
        ValueError: if it cannot.
    """
    if adversarial.selection == "none":
        return
    if adversarial.attack == "free" and accumulate > 1:
        raise ValueError(
            f"adversarial.attack=free takes a step on every pass, training.accumulate=1 was expected, got "
            f"{accumulate}; set training.accumulate=1 or another attack"
        )
    if adversarial.grad_align > 0 and compiled:
        raise ValueError(
            "adversarial.grad_align goes backwards through gradients, which a compiled network cannot, "
            "training.compile=false was expected, got true; set one of the two off"
        )
