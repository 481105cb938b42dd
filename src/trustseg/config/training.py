"""The network, its loss, and how it is trained."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trustseg.config.section import FolderOrFile, NameWithOptions, Section

__all__ = ["LossConfig", "ModelConfig", "Monitor", "TrainingConfig"]

Monitor = Literal["clean", "robust", "both", "last"]


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
    noise: float = Field(
        0.0,
        ge=0,
        description="standard deviation of Gaussian noise on training and validation images, after attacks, in pixel "
        "units of [0, 1]; what certified deferral needs; 0: none",
    )
    validation_every: int = Field(5, ge=1, description="epochs between validations; the last epoch is always validated")
    validation_steps: int = Field(10, ge=1, description="PGD steps of the robust validation")
    monitor: Monitor = Field(
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
