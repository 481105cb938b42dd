"""The section ``data``: the images of a run, and opening them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from trustseg.config.section import FolderOrFile, Section
from trustseg.errors import ConfigError

if TYPE_CHECKING:
    from trustseg.data import Pack
    from trustseg.data.cases import Declared
    from trustseg.data.intensity import IntensityScale
    from trustseg.progress import ProgressCallback

__all__ = ["DataConfig", "open_images"]


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
    target: str = Field(
        "foreground",
        min_length=1,
        max_length=40,
        description="what the masks mark, in a word (lesion, polyp, infection ...); reports call it so",
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
        from trustseg.data.mask_values import parse_mask_values

        try:
            parse_mask_values(value)
        except ConfigError as error:
            raise ValueError(str(error).removeprefix("data.mask_values: ")) from error
        return {kind: codes if isinstance(codes, (list, tuple)) else [codes] for kind, codes in value.items()}

    @model_validator(mode="after")
    def _fold_exists(self) -> Self:
        if self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} does not exist among {self.folds} folds (0 to {self.folds - 1})")
        return self


def open_images(
    data: DataConfig,
    *,
    path: Path | str | None = None,
    scale: "IntensityScale | None" = None,
    progress: "ProgressCallback | None" = None,
) -> "Pack":
    """Return the pack that the section ``data`` of a configuration describes.

    Args:
        data: the section; its keys are the options of ``open_dataset``.
        path: another data set to be read with the same settings; ``data.path`` by default.
        scale: intensity scale of the images that a model was trained on; None decides from the files.
        progress: called with (images done, images in all) while a folder is packed.

    Raises:
        MissingFileError: if there is nothing at the path.
        DataError: if an image or mask cannot be used, or a pack was made with other settings.
    """
    from trustseg.data import open_dataset

    return open_dataset(
        path or str(data.path),
        size=data.size,
        channels=data.channels,
        fit=data.fit,
        mask_values=data.mask_values,
        scale=scale,
        declared=data.declared if path is None else None,
        progress=progress,
    )
