"""A small model in a run's folder, its policy and its exported file, made once."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from tests.policies import policy_with
from tests.training.tiny import use_tiny_networks

from trustseg.calibration import Calibration
from trustseg.data.pack import Pack
from trustseg.data.training_record import write_preprocessing
from trustseg.deferral import save_policy
from trustseg.evaluation import hash_of_model, load_model
from trustseg.models import build_segmenter


class Made(NamedTuple):
    """A run's folder, a policy for its model, and the exported file."""

    run: Path
    policy: Path
    file: Path

    @property
    def model(self) -> Path:
        """The model's folder."""
        return self.run / "model"


@pytest.fixture(scope="package")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a calibrated Bernoulli model of grey images, padded, with a policy, of a small network."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from tests.evaluation.packs import pack_of

    from trustseg.export import export_model

    folder = tmp_path_factory.mktemp("exported")
    found = Made(folder / "run", folder / "policy.json", folder / "model.onnx")
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        torch.manual_seed(0)
        build_segmenter(architecture="unet", size=32).eval().save(found.model)
        values = {"temperature": 0.1}
        Calibration("temperature_scaling", values, "validation", 3, 3, "", 0.7, 0.6).save(found.model)
        pack: Pack = pack_of()
        object.__setattr__(pack, "fit", "pad")
        write_preprocessing(found.model, pack)
        policy = policy_with(threshold=0.55, model=hash_of_model(load_model(found.model)), statement="At most half.")
        save_policy(policy, found.policy)
        export_model(found.model, found.file, policy=policy)
    return found


@pytest.fixture
def made(made_once: Made, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Return the model, with small networks during the test."""
    use_tiny_networks(monkeypatch)
    return made_once


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder of grey and coloured images of several sizes."""
    from tests.fake import save

    rng = np.random.default_rng(0)
    for number, shape in enumerate([(32, 32), (50, 33), (20, 44, 3), (90, 90, 3)]):
        save(rng.integers(0, 256, shape, dtype=np.uint8), tmp_path / "images" / f"image{number}.png")
    return tmp_path / "images"
