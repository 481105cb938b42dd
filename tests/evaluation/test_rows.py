"""Which rows of a pack a split means."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.evaluation.packs import pack_of

from trustseg.config import DataConfig
from trustseg.data import Pack
from trustseg.errors import DataError, UnknownNameError
from trustseg.evaluation import rows_of_split


def test_rows_of_every_split() -> None:
    pack = pack_of()
    data = DataConfig()
    assert rows_of_split(pack, "test", data).tolist() == [4, 5, 6]
    assert rows_of_split(pack, "control", data).tolist() == [7]
    assert rows_of_split(pack, "all", data).tolist() == [0, 1, 2, 3, 4, 5, 6]
    train, validation = (rows_of_split(pack, split, data).tolist() for split in ("train", "validation"))
    assert sorted(train + validation) == [0, 1, 2, 3]
    assert all(rows_of_split(pack, split, data).dtype == np.int64 for split in ("test", "control", "all"))


def test_folds_test_every_image_once() -> None:
    pack = pack_of()
    parts = [rows_of_split(pack, "test", DataConfig(fold=fold, folds=3)).tolist() for fold in range(3)]
    assert sorted(row for part in parts for row in part) == [0, 1, 2, 3, 4, 5, 6]


def test_images_without_a_mask_are_never_measured_as_healthy() -> None:
    pack = pack_of()
    index = pack.index.with_columns(has_mask=pl.col("name") != "image1")
    without = Pack(pack.images, pack.masks, index, pack.size, pack.channels, pack.layout, pack.digest)
    assert 1 not in rows_of_split(without, "all", DataConfig())


def test_an_unknown_or_empty_split_gets_a_sentence() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'validation'"):
        rows_of_split(pack_of(), "validate", DataConfig())
    with pytest.raises(DataError, match="'control' of this dataset is empty"):
        rows_of_split(pack_of(7), "control", DataConfig())


@pytest.mark.parametrize("count", [3, 5])
def test_a_sample_takes_turns_among_patients_whatever_the_order_of_the_rows(count: int) -> None:
    index = pack_of().index.with_columns(split=pl.lit("test"), patient=pl.Series(list("aaabbbcc")))
    drawn = []
    for shown in (index, index.reverse()):
        rows = rows_of_split(replace(pack_of(), index=shown), "all", DataConfig(), count=count)
        drawn.append(shown[rows].sort("name"))
        assert (np.diff(rows) > 0).all()
    assert drawn[0].equals(drawn[1])
    images = dict(drawn[0].group_by("patient").len().iter_rows())
    assert sum(images.values()) == count
    assert max(images.values()) - min(images.values()) <= 1
