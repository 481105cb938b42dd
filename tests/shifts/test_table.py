import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.shifts.films import seeded
from torch import Tensor

from trustseg.shifts import SHIFT_TABLE, SHIFT_TABLE_VERSION, SHIFTS, severities
from trustseg.shifts.table import normal, uniform

FROZEN = {
    1: {
        19: "676cde9cb8914516605b1c119fe3715b733c2b4d87b62b3344010da426f95ac1",
        38: "15d7329edc123d3e6b13de73a202cbd399472e5a2a55c7ee8b5482920232170b",
    }
}
"""Version -> rows -> hash of so many first rows; rows may be added, none may change."""
PAGE = Path(__file__).parents[2] / "docs" / "shifts.md"


def test_the_table_is_frozen() -> None:
    rows = [(name, [float(value) for value in values]) for name, values in SHIFT_TABLE.items()]
    frozen = FROZEN[SHIFT_TABLE_VERSION]
    assert max(frozen) == len(rows)
    for count, digest in frozen.items():
        assert hashlib.sha256(json.dumps(dict(rows[:count])).encode()).hexdigest() == digest


def test_parameters_go_one_way() -> None:
    for name, values in SHIFT_TABLE.items():
        assert len(set(values)) == 5, name
        assert list(values) in (sorted(values), sorted(values, reverse=True)), name


def test_the_page_shows_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` [^|]*\| [^|]+((?:\| [\d.]+ ){5})\|$", text, re.MULTILINE)
    shown = {name: tuple(float(value) for value in cells.split("|")[1:]) for name, cells in rows}
    assert shown == SHIFT_TABLE
    assert f"Version {SHIFT_TABLE_VERSION}." in text


def test_other_severities_hold_inside_a_block_alone() -> None:
    images = torch.full((1, 1, 2, 2), 0.5)
    usual, brighter = SHIFTS["brightness_up"](images, 3, seeded()), SHIFTS["brightness_up"](images, 5, seeded())
    with severities({"brightness_up": (0.1, 0.2, 0.26, 0.3, 0.4)}):
        assert torch.equal(SHIFTS["brightness_up"](images, 3, seeded()), brighter)
        assert SHIFT_TABLE["brightness_up"][2] == 0.13
    assert torch.equal(SHIFTS["brightness_up"](images, 3, seeded()), usual)


@pytest.mark.parametrize("draw", [uniform, normal])
def test_numbers_are_drawn_image_by_image(draw: Callable[..., Tensor]) -> None:
    images = torch.zeros(3, 1, 2, 2)
    generator = seeded()
    one_by_one = torch.cat([draw(images[:1], generator, 5) for _ in range(3)])
    assert torch.equal(draw(images, seeded(), 5), one_by_one)
    assert draw(images, seeded()).shape == (3,)
