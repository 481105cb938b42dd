"""The section of adversarial training, and which of its values do not go together."""

from collections.abc import Mapping
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from trustseg.config.evaluation import MeasureConfig
from trustseg.config.names import FREE, training_attack
from trustseg.config.section import AggregationName, Budget, NameWithOptions, Section
from trustseg.entries import name_in

__all__ = ["WITH_FREE", "AdversarialConfig", "AlignmentConfig", "check_steps"]

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
        "log_strength", description="distance between strengths of evidence (strength)"
    )
    one_sided: bool = Field(
        False, description="count only adversarial images more certain than the originals (log_strength)"
    )

    @model_validator(mode="after")
    def _has_two_sides(self) -> Self:
        if self.one_sided and self.divergence == "symmetric_kl":
            raise ValueError("one_sided needs divergence=log_strength, got symmetric_kl; set one_sided=false")
        return self


class AdversarialConfig(Section):
    """Which images of a batch are attacked during training, and how."""

    selection: str = Field("none", description="which images of a batch are attacked")
    fraction: float = Field(0.5, gt=0, le=1, description="share of the batch that is attacked")
    fraction_start: float | None = Field(
        None, gt=0, le=1, description="share attacked after the warm-up, ramped to fraction; null: no ramp"
    )
    threshold: float | None = Field(None, description="score above which images are attacked (selection=threshold)")
    scores: Literal["fresh", "memory"] = Field(
        "fresh",
        description="scores from an extra forward pass (fresh), or from the last clean training step of the image "
        "(memory)",
    )
    refresh_epochs: int = Field(
        5, ge=1, description="maximum age of a remembered score; the image is then trained on clean once"
    )
    mode: Literal["replace", "append"] = Field(
        "replace", description="whether adversarial images replace the originals in the batch or are added"
    )
    weight: float = Field(1.0, gt=0, description="weight of the loss of adversarial images relative to clean ones")
    loss: str = Field(
        "mixed",
        description="mixed: labels on clean and adversarial images; others: labels on clean images, alignment of "
        "adversarial ones",
    )
    alignment: AlignmentConfig = AlignmentConfig()
    pixel_weight: str = Field("none", description="pixel weights of adversarial images")
    weight_perturbation: float = Field(
        0.0, ge=0, lt=1, description="adversarial weight perturbation, relative to the norm of the weights; 0: none"
    )
    attack: NameWithOptions = Field("fgsm", description="training attack; free: free adversarial training")
    replays: int = Field(4, ge=1, description="steps per batch of free training")
    grad_align: float = Field(0.0, ge=0, description="weight of the GradAlign regulariser; 0: none")
    eps: Budget = Field(4 / 255, le=1, description="L-inf budget in pixel units of [0, 1]; 4/255 = four grey levels")
    steps: int = Field(7, ge=1, description="steps of multi-step training attacks")
    objective: str = Field("cross_entropy", description="objective of the attack; divergence: without labels")
    measure: MeasureConfig = Field(MeasureConfig(), description="uncertainty measure for image scores")
    aggregation: AggregationName = Field(
        "soft_dice_confidence", description="how the uncertainty map becomes an image score"
    )
    warmup_epochs: int = Field(2, ge=0, description="initial epochs without attacks")
    ramp_epochs: int = Field(5, ge=0, description="epochs over which eps, fraction and pixel weights are ramped up")

    @model_validator(mode="after")
    def _selection_fits(self) -> Self:
        if self.selection == "threshold" and self.threshold is None:
            raise ValueError("selection=threshold needs a threshold, such as threshold=0.05")
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
                f"objective=divergence has no gradient at the clean image, where {self.attack} starts; set an attack "
                "with a random start, such as rs_fgsm or pgd"
            )
        if facts.weighs_cross_entropy and self.objective != name_in(self.attack):
            raise ValueError(
                f"{self.attack} needs objective=cross_entropy, got {self.objective}; set attack=pgd for another "
                "objective"
            )
        return self

    @model_validator(mode="after")
    def _free_fits(self) -> Self:
        if self.attack == FREE and self.selection != "none":
            for key, value in WITH_FREE.items():
                if getattr(self, key) != value:
                    wanted = f"{key}={'null' if value is None else value}"
                    raise ValueError(
                        f"attack=free perturbs every image by the gradient of the training loss; set {wanted} (it is "
                        f"{getattr(self, key)}) or another attack"
                    )
        return self


def check_steps(adversarial: AdversarialConfig, *, accumulate: int, compiled: bool) -> None:
    """Check that training can do what the section asks for, with this accumulation and a compiled network or not."""
    if adversarial.selection == "none":
        return
    if adversarial.attack == FREE and accumulate > 1:
        raise ValueError(f"adversarial.attack=free needs training.accumulate=1, got {accumulate}; change one of them")
    if adversarial.grad_align > 0 and compiled:
        raise ValueError(
            "adversarial.grad_align needs second derivatives, which a compiled network does not have; set "
            "adversarial.grad_align=0 or training.compile=false"
        )
