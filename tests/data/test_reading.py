"""What is decided for a data set is stored with the model that was trained on it."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.fake import one_pair

from trustseg.data import write_pack
from trustseg.data.reading import ModelReading, reading_beside, write_reading
from trustseg.errors import DataError


def test_what_was_decided_is_found_beside_the_model(tmp_path: Path) -> None:
    image = np.array([[0, 4000], [200, 500]], dtype=np.uint16)
    root = one_pair(tmp_path / "data", np.zeros((2, 2), dtype=np.uint8), image=image, end="tif")
    pack = write_pack(root, tmp_path / "pack", size=4, channels=3, fit="pad")
    assert reading_beside(tmp_path / "model") is None
    write_reading(tmp_path / "model", pack)
    assert reading_beside(tmp_path / "model") == ModelReading(4, 3, "pad", 4095)
    file = tmp_path / "model" / "data.json"
    about = json.loads(file.read_text())
    assert about["notes"] == list(pack.notes)
    wrong: list[dict[str, object]] = [{"fit": "crop"}, {"size": 0}]
    wrong += [{"white": white} for white in ("4095", -5, 0, 1, 1e9, True)]
    for damaged in ({"fit": "pad"}, *({**about, **change} for change in wrong)):
        file.write_text(json.dumps(damaged))
        with pytest.raises(DataError, match=r"data\.json"):
            reading_beside(tmp_path / "model")
