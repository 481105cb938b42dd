"""A model exported in memory, and what ``predict`` computes for an image, step by step."""

from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from trustseg.data.intensity import IntensityScale, render
from trustseg.data.picture import Picture
from trustseg.data.resizing import image_area, resize_image
from trustseg.deferral import Policy
from trustseg.evaluation.frames import image_scores, to_native
from trustseg.export.description import Description, describe
from trustseg.export.exported import ExportedModel, open_content
from trustseg.export.graphs import program_of, serialised
from trustseg.export.pipeline import Pipeline
from trustseg.models import BeliefModel
from trustseg.uncertainty import MEASURES

SHAPES = ((1, 1, 32, 32), (2, 3, 45, 32), (3, 1, 20, 57), (1, 3, 200, 90), (1, 1, 1, 3))


def described(model: BeliefModel, policy: Policy | None = None, **about: Any) -> Description:  # noqa: ANN401
    """Return a description with the usual values where none are given."""
    spec = {field: getattr(model.spec, field) for field in model.spec.__slots__}
    usual = {"model": "", "spec": spec, "measure": "entropy", "aggregation": "mean", "fit": "squash"}
    return describe(policy, **(usual | about))


def exported(model: BeliefModel, about: Description, *suffixes: str) -> tuple[Pipeline, list[ExportedModel]]:
    """Return the module and its files of these formats, opened."""
    pipeline = Pipeline(model, about)
    program = program_of(pipeline)
    contents = {path: serialised(program, about, path) for path in (Path(f"model{suffix}") for suffix in suffixes)}
    for content in contents.values():
        assert not any(b'.py", line' in part or str(Path.home()).encode() in part for part in parts_of(content))
    return pipeline, [open_content(content, path) for path, content in contents.items()]


def parts_of(content: bytes) -> list[bytes]:
    """Return a file as it is, or the files in it if it is an archive."""
    if not content.startswith(b"PK"):
        return [content]
    with ZipFile(BytesIO(content)) as archive:
        return [archive.read(name) for name in archive.namelist()]


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return random images (B, C, H, W), read-only as those of Pillow and of packs are."""
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    images.flags.writeable = False
    return images


def predicted(model: BeliefModel, about: Description, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Return what the steps of ``predict`` give for each image of a batch."""
    height, width = images.shape[-2:]
    found: dict[str, list[NDArray[Any]]] = {"probability": [], "uncertainty": [], "score": []}
    for image in images:
        picture = Picture(image[0] if len(image) == 1 else np.moveaxis(image, 0, -1), "", "PNG")
        levels = render(picture, IntensityScale(), channels=about.channels)
        pixels = resize_image(levels, about.size, about.fit)
        planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        with torch.no_grad():
            belief = model.belief(torch.from_numpy(planes.copy())[None].float() / 255)
        area = image_area(width, height, size=about.size, fit=about.fit)
        uncertainty = MEASURES[about.measure](belief)
        found["score"].append(image_scores(about.aggregation, uncertainty, belief.probability, [area]).numpy())
        found["probability"].append(to_native(belief.probability, (height, width), area).numpy()[None])
        found["uncertainty"].append(to_native(uncertainty, (height, width), area).numpy()[None])
    joined: dict[str, NDArray[Any]] = {name: np.stack(values) for name, values in found.items()}
    return {**joined, "score": joined["score"][:, 0], "mask": joined["probability"] > 0.5}


def check_parity(
    model: BeliefModel, about: Description, found: dict[str, NDArray[Any]], images: NDArray[np.uint8]
) -> None:
    """Check that a file returned what ``predict`` computes, to 1e-5, and the same mask."""
    expected = predicted(model, about, images)
    for name in ("probability", "uncertainty", "score"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5, err_msg=f"{name} {images.shape}")
    sure = np.abs(expected["probability"] - 0.5) > 1e-5  # within rounding of one half either mask is right
    np.testing.assert_array_equal(found["mask"][sure], expected["mask"][sure])
    assert found["mask"].dtype == np.uint8
    assert sure.mean() > 0.9
    assert np.ptp(expected["probability"]) > 0 or expected["probability"].size < 4
