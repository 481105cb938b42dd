"""The sections of a configuration: keys, defaults, ranges and meanings, and which values do not go together."""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from trustseg.config.adversarial import AdversarialConfig, check_head, check_steps
from trustseg.config.evaluation import EvaluationConfig
from trustseg.config.mixtures import MixtureConfig, check_attacks_on_mixtures, check_seeds
from trustseg.config.names import (
    check_attack,
    check_counted,
    check_names,
    check_objective_of_bernoulli,
    pools_to_a_pixel,
)
from trustseg.config.section import FolderOrFile, NameWithOptions, Section
from trustseg.errors import ConfigError

if TYPE_CHECKING:
    from trustseg.data.cases import Declared

__all__ = [
    "AdversarialConfig",
    "DataConfig",
    "LossConfig",
    "MixtureConfig",
    "ModelConfig",
    "PhantomConfig",
    "RunConfig",
    "StudyConfig",
    "TrainingConfig",
]


class DataConfig(Section):
    """Which images, at which size, split how."""

    path: FolderOrFile | None = Field(None, description="dataset folder or pack; null in a study: generated phantoms")
    masks: FolderOrFile | None = Field(
        None, description="folder or file-name ending of the reference masks, if ambiguous"
    )
    controls: FolderOrFile | None = Field(
        None, description="folder of images known to lack the target; '.': all; a folder control/ is recognised"
    )
    unite_masks: bool = Field(False, description="take the union of several masks of one image")
    size: int = Field(
        224,
        ge=32,
        le=2048,
        description="side in pixels to which images and masks are resized; the network pads it to a multiple of 32",
    )
    channels: Literal[1, 3] = Field(1, description="image channels; 1 = grey")
    fit: Literal["squash", "pad"] = Field(
        "squash",
        description="non-square images: stretch (squash), or keep the aspect ratio and pad; padding is ignored",
    )
    mask_values: dict[Literal["background", "lesion", "ignore"], tuple[int | str, ...]] | None = Field(
        None,
        description="meaning of mask values, e.g. {lesion: [1, 2], ignore: 255}; also colours ('#ff0000') and ranges "
        "(128-255); null: 0 and 255, or 0 and 1",
    )
    fold: int | None = Field(None, ge=0, description="fold used as the test set; null: the official train/test split")
    folds: int = Field(5, ge=2, description="number of patient-grouped folds")
    validation_fraction: float = Field(0.2, gt=0, lt=1, description="share of training images kept for validation")
    split_seed: int = Field(0, ge=0, description="seed of folds and validation split")
    near_copies: Literal["drop", "refuse"] = Field(
        "drop",
        description="training images that are near-copies of official test images: leave out (drop) or stop (refuse)",
    )
    residence: Literal["auto", "gpu", "ram", "mmap"] = Field(
        "auto",
        description="where images are kept during training; auto: on the GPU if half of its free memory holds them, "
        "else memory-mapped (mmap)",
    )

    @property
    def declared(self) -> "Declared":
        """What the user says about the folders of the dataset."""
        from trustseg.data.cases import Declared

        return Declared(masks=self.masks, controls=self.controls, unite_masks=self.unite_masks)

    @field_validator("mask_values", mode="before")
    @classmethod
    def _mask_values_have_a_meaning(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the YAML holds
        if not isinstance(value, dict):
            return value
        from trustseg.data.mask_codes import parse_values

        try:
            parse_values(value)
        except ConfigError as error:
            raise ValueError(str(error).removeprefix("data.mask_values: ")) from error
        return {kind: codes if isinstance(codes, (list, tuple)) else [codes] for kind, codes in value.items()}

    @model_validator(mode="after")
    def _fold_exists(self) -> Self:
        if self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} does not exist among {self.folds} folds (0 to {self.folds - 1})")
        return self


class ModelConfig(Section):
    """What the segmenter is built from."""

    architecture: str = Field("unet", description="network architecture")
    encoder: str = Field("resnet18", description="encoder of segmentation_models.pytorch (fcn: resnet50, resnet101)")
    depth: int = Field(5, ge=3, le=5, description="number of encoder stages (unet, unet_plus_plus; others: 5)")
    decoder_channels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (),
        description="decoder channels, one number per stage, deepest first (unet, unet_plus_plus); "
        "[]: 256, 128, 64, 32, 16",
    )
    head: Literal["bernoulli", "beta"] = Field("bernoulli", description="classical (bernoulli) or evidential (beta)")
    evidence: Literal["softplus", "exp"] = Field(
        "exp", description="activation from logits to evidence of a beta head; exp is linear above e^10"
    )
    prior: float = Field(1.0, gt=0, description="prior weight of each class in a beta head")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout rate of channels before the last layers; 0: none")
    weights: FolderOrFile | None = Field(
        None,
        description="initial encoder weights: imagenet (from an installed package), a safetensors file, or the "
        "folder of a trained model; null: random",
    )
    accept_noncommercial: bool = Field(False, description="allow encoders with non-commercial licences")


class LossConfig(Section):
    """What training minimises: data term + weighted KL to uniform, vacuity correction (beta) and region loss."""

    bernoulli: NameWithOptions = Field("binary_cross_entropy", description="data term of a bernoulli head")
    beta: NameWithOptions = Field("type_ii_likelihood", description="data term of a beta head")
    kl_weight: float = Field(0.0, ge=0, description="final weight of the KL divergence to uniform (beta head only)")
    kl_epochs: int = Field(10, ge=0, description="epochs until the KL weight is reached (capped: until it would be 1)")
    kl_schedule: Literal["linear", "cosine", "capped"] = Field("linear", description="schedule of the KL weight")
    vacuity_correction: float = Field(
        0.0, ge=0, description="weight of the gradient for pixels without evidence (beta head only)"
    )
    region: NameWithOptions = Field("soft_dice", description="region loss, of the predicted region as a whole")
    region_weight: float = Field(1.0, ge=0, description="weight of the region loss; 0: none")
    balance: Literal["none", "image"] = Field(
        "none", description="data term: mean over pixels (none), or foreground and background half each (image)"
    )

    @model_validator(mode="before")
    @classmethod
    def _former_names(cls, content: object) -> object:
        """Read ``dice_weight``, which ``region_weight`` was called; what was set last counts."""
        if not isinstance(content, dict):
            return content
        return {"region_weight" if key == "dice_weight" else key: value for key, value in content.items()}


class TrainingConfig(Section):
    """How long, how fast and on what."""

    epochs: int = Field(60, ge=1, description="maximum number of epochs")
    batch_size: int = Field(8, ge=1, description="images per forward pass")
    accumulate: int = Field(1, ge=1, description="batches per optimiser step (gradient accumulation)")
    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate of AdamW, with warm-up and cosine decay")
    weight_decay: float = Field(1e-4, ge=0, description="weight decay of AdamW")
    clip_norm: float = Field(5.0, gt=0, description="maximum gradient norm")
    augment: bool = Field(True, description="random flips, small rotations, scaling, contrast and brightness")
    validation_every: int = Field(5, ge=1, description="epochs between validations; the last epoch is always validated")
    validation_steps: int = Field(10, ge=1, description="PGD steps of the robust validation")
    monitor: Literal["clean", "robust", "both", "last"] = Field(
        "both",
        description="how the epoch is selected: by validation Dice, clean, under PGD at full eps (robust) or their "
        "mean (both; clean if nothing is attacked); last: the last epoch",
    )
    watch: bool = Field(True, description="watch single-step training attacks for catastrophic overfitting")
    patience: int | None = Field(None, ge=1, description="validations without improvement before stopping; null: never")
    seed: int = Field(0, ge=0, description="seed of weights, batches, augmentation and attacks")
    deterministic: bool = Field(True, description="bit-identical results on one machine")
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", description="precision of the network")
    compile: bool = Field(False, description="compile the network with torch.compile; for long runs on a GPU")
    threads: int | None = Field(
        None,
        ge=1,
        description="CPU threads (affects rounding); null: all cores, in a study one per cell",
    )
    accelerator: Literal["auto", "cpu", "gpu"] = Field("auto", description="device type")
    devices: int = Field(1, ge=1, description="number of devices; more than one trains with DDP")
    logger: Literal["csv", "tensorboard", "mlflow"] = Field(
        "csv", description="experiment tracker; csv: none besides metrics.csv"
    )


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
        adversarial, evaluation = self.adversarial, self.evaluation
        check_names("model.architecture", self.model.architecture)
        check_names("loss.bernoulli", self.loss.bernoulli)
        check_names("loss.beta", self.loss.beta)
        check_names("loss.region", self.loss.region)
        check_names("adversarial.selection", adversarial.selection)
        check_names("adversarial.attack", adversarial.attack)
        check_names("adversarial.objective", adversarial.objective)
        check_names("adversarial.measure.bernoulli", adversarial.measure.bernoulli)
        check_names("adversarial.measure.beta", adversarial.measure.beta)
        check_names("adversarial.aggregation", adversarial.aggregation)
        for attack in evaluation.attacks:
            check_attack(attack)
        check_names("evaluation.shifts", *evaluation.shifts)
        check_names("evaluation.deferral.measure.bernoulli", evaluation.deferral.measure.bernoulli)
        check_names("evaluation.deferral.measure.beta", evaluation.deferral.measure.beta)
        check_names("evaluation.deferral.aggregation", evaluation.deferral.aggregation)
        check_names("evaluation.measures", *evaluation.measures)
        check_names("evaluation.aggregations", *evaluation.aggregations)
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
