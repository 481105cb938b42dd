"""Opening the images that a configuration names."""

from pathlib import Path
from typing import TYPE_CHECKING

from trustseg.config.schema import DataConfig

if TYPE_CHECKING:
    from trustseg.data import Pack
    from trustseg.data.decode import Progress
    from trustseg.data.intensity import IntensityScale

__all__ = ["open_images"]


def open_images(
    data: DataConfig,
    *,
    path: Path | str | None = None,
    scale: "IntensityScale | None" = None,
    progress: "Progress | None" = None,
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
