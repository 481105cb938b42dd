import hashlib

import numpy as np
import pytest
import torch

from trustseg.randomness import derive_seed, derived_generator


def test_seed_is_the_documented_hash() -> None:
    digest = hashlib.sha256(b"(7, 'attack', 3)").digest()
    assert derive_seed(7, "attack", 3) == int.from_bytes(digest[:8], "big") >> 1


def test_seeds_fit_torch_and_do_not_collide() -> None:
    seeds = {
        derive_seed(seed, name, epoch) for seed in range(10) for name in ("order", "attack") for epoch in range(100)
    }
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_streams_are_told_apart_by_kind_and_place() -> None:
    assert len({derive_seed(1, 2), derive_seed(1, "2"), derive_seed(12), derive_seed(2, 1), derive_seed(1, 2, 0)}) == 5


def test_a_numpy_integer_is_the_same_number() -> None:
    assert derive_seed(int(np.int64(3)), "order", 4) == derive_seed(np.int64(3), "order", np.int32(4))  # type: ignore[arg-type]  # what callers with arrays do


def test_a_fraction_is_no_seed() -> None:
    with pytest.raises(TypeError):
        derive_seed(0.5)  # type: ignore[arg-type]  # the mistake under test


def test_generator_leaves_the_global_state_alone() -> None:
    before = torch.random.get_rng_state()
    draws = [torch.rand(3, generator=derived_generator(0, "attack", step)) for step in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(before, torch.random.get_rng_state())
