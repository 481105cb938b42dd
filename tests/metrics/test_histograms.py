"""Histograms against exact sorting; the bins themselves; merging, order and bootstrap batches."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.vectors import load_vectors

from trustseg.errors import ShapeError
from trustseg.metrics import (
    BINS,
    bin_values,
    error_histogram,
    rank_scores,
    scores_from_counts,
    uncertainty_keys,
)
from trustseg.metrics.bins import Resolution

NAMES = ("aurc", "e_aurc", "augrc", "ause", "nause")
RESOLUTIONS: tuple[Resolution, ...] = ("fine", "coarse")


def _scene(name: str, count: int = 1_000_000) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Uncertainty, wrong pixels and squared errors of a network that is over-confident."""
    generator = torch.Generator().manual_seed(1)
    logits = 4 * torch.randn(count, generator=generator)
    p = torch.sigmoid(logits)
    y = torch.rand(count, generator=generator) < torch.sigmoid(0.6 * logits - 0.3)
    variance = p * (1 - p)
    uncertainty = {
        "variance": variance,
        "saturated": torch.where(logits.abs() > 3, 0.0, variance),
        "wide": torch.exp(-3 * logits.abs()),
        "negative": -torch.exp(logits.abs() / 4),
        "tiny": 1e-6 * variance,
        "noise": torch.rand(count, generator=generator),
    }[name]
    return uncertainty, (p > 0.5) != y, (p - y.float()).square()


@pytest.mark.parametrize("name", ["variance", "saturated", "wide", "negative", "tiny", "noise"])
def test_histograms_agree_with_sorting(name: str) -> None:
    uncertainty, wrong, brier = _scene(name)
    tolerances = (2e-6, 5e-4 if name == "tiny" else 5e-5)  # coarse bins below 2^-10 have only four bits of an octave
    for error in (wrong, brier):
        exact = rank_scores(uncertainty, error)
        for resolution, tolerance in zip(RESOLUTIONS, tolerances, strict=True):
            histogram = error_histogram(uncertainty, error, resolution=resolution)
            oracle = None if error is wrong else error_histogram(error, error, resolution=resolution)
            binned = scores_from_counts(*histogram, oracle=oracle)
            for score in NAMES:
                assert float(getattr(binned, score)) == pytest.approx(float(getattr(exact, score)), abs=tolerance), (
                    score
                )


def test_golden_blocks() -> None:
    cases = [
        ([[4, 1], [3, 1], [1, 1]], {"aurc": 0.2756448412698413, "augrc": 0.1640625, "nause": 0.6341552511415525}),
        ([[1000, 3], [0, 0], [200, 40], [50, 25]], {"aurc": 0.007496395856381348, "ause": 0.10969440730688573}),
    ]
    cases += [(case["blocks"], case["expect"]) for case in load_vectors("selective")["blocks"]["cases"]]
    for blocks, expected in cases:
        scores = scores_from_counts(*torch.tensor(blocks).T)
        for name, wanted in expected.items():
            assert float(getattr(scores, name)) == pytest.approx(wanted, rel=1e-8), name


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_keys_never_fall(resolution: Resolution) -> None:
    # Every 16-bit prefix of a float32 that is not NaN, with three fillings of the rest: all octaves and signs.
    low = torch.tensor([0, 1, 0x7FFF, 0xFFFF], dtype=torch.int32)
    scores = ((torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32) << 16)[:, None] + low).flatten().view(torch.float32)
    scores = scores[~scores.isnan()].sort().values
    keys = uncertainty_keys(scores, resolution=resolution)
    assert bool((keys.diff() >= 0).all())
    assert int(keys.min()) >= 0
    assert int(keys.max()) < BINS[resolution] == {"fine": 358_274, "coarse": 5_600}[resolution]


def test_a_coarse_bin_is_a_run_of_fine_ones() -> None:
    generator = torch.Generator().manual_seed(2)
    scores = torch.randn(100_000, generator=generator) * torch.exp(20 * torch.randn(100_000, generator=generator))
    fine, coarse = uncertainty_keys(scores), uncertainty_keys(scores, resolution="coarse")
    pairs = torch.unique(torch.stack([fine, coarse]), dim=1)  # sorted by the fine bin
    assert bool((pairs[0].diff() > 0).all())  # a fine bin lies in one coarse bin
    assert bool((pairs[1].diff() >= 0).all())
    assert int(pairs[1].bincount().max()) <= 64


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_values_stand_for_their_bins(resolution: Resolution) -> None:
    values = torch.from_numpy(bin_values(resolution))
    assert values.shape == (BINS[resolution],)
    assert bool((values[1:] >= values[:-1]).all())
    bins = torch.arange(BINS[resolution])
    # All but the mirrored zero bin and the infinities come back to the bin they stand for.
    proper = values.isfinite() & (bins != BINS[resolution] // 2 - 1)
    assert torch.equal(uncertainty_keys(values, resolution=resolution)[proper].long(), bins[proper])


def test_zero_denormals_and_signs() -> None:
    for resolution in RESOLUTIONS:
        zero = BINS[resolution] // 2
        keys = uncertainty_keys(torch.tensor([0.0, -0.0, 1e-40, -1e-40]), resolution=resolution)
        assert keys.tolist() == [zero, zero, zero, zero - 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_other_types_and_layouts(dtype: torch.dtype) -> None:
    scores = torch.tensor([[0, 2, 1], [4, 3, 8]], dtype=dtype).T
    keys = uncertainty_keys(scores)
    assert keys.shape == (3, 2)
    assert keys.dtype == torch.int32
    assert torch.equal(keys, uncertainty_keys(scores.float().contiguous()))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 400), st.booleans())
def test_shards_merge_to_the_whole_bit_for_bit(seed: int, count: int, binary: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    uncertainty, error = torch.rand(count, generator=generator), torch.rand(count, generator=generator)
    errors = error > 0.5 if binary else error
    whole = error_histogram(uncertainty, errors, resolution="coarse")
    order = torch.randperm(count, generator=generator)
    shards = [order[: count // 3], order[count // 3 :]]
    parts = [error_histogram(uncertainty[part], errors[part], resolution="coarse") for part in shards]
    assert torch.equal(parts[0].counts + parts[1].counts, whole.counts)
    assert torch.equal(parts[0].error_sums + parts[1].error_sums, whole.error_sums)
    torch.testing.assert_close(whole.error_sums.sum(), errors.double().sum(), rtol=0, atol=1e-9 * count)


def test_bool_and_float_errors_give_the_same_histogram() -> None:
    uncertainty, wrong, _ = _scene("variance", 1000)
    left, right = error_histogram(uncertainty, wrong), error_histogram(uncertainty, wrong.float())
    assert torch.equal(torch.stack(left), torch.stack(right))


def test_bootstrap_batches_equal_single_histograms() -> None:
    generator = torch.Generator().manual_seed(3)
    counts = torch.randint(0, 9, (2, 4, 30), generator=generator)
    counts[0, 0] = 0
    errors = (counts * torch.rand(2, 4, 30, generator=generator)).long()
    oracle = (counts, errors)
    for given_oracle in (None, oracle):
        batch = scores_from_counts(counts, errors, oracle=given_oracle)
        for i in range(2):
            for j in range(4):
                own = None if given_oracle is None else (oracle[0][i, j], oracle[1][i, j])
                single = scores_from_counts(counts[i, j], errors[i, j], oracle=own)
                for name in NAMES:
                    torch.testing.assert_close(getattr(batch, name)[i, j], getattr(single, name), equal_nan=True)
    assert bool(batch.aurc[0, 0].isnan())


@pytest.mark.parametrize("wrong", [0, 5])
def test_no_error_and_only_errors(wrong: int) -> None:
    scores = scores_from_counts(torch.tensor([2, 0, 3]), torch.tensor([2, 0, 3]) * (wrong > 0))
    assert float(scores.aurc) == pytest.approx(wrong / 5)
    assert float(scores.e_aurc) == 0.0
    assert math.isnan(float(scores.nause))
    assert math.isnan(float(scores.ause)) == (wrong == 0)


def test_bad_input_gets_its_sentence() -> None:
    two = torch.tensor([0.1, 0.2])
    with pytest.raises(ShapeError, match="uncertainty holds NaN"):
        uncertainty_keys(torch.tensor([math.nan]))
    with pytest.raises(ShapeError, match="error holds NaN"):
        error_histogram(two, torch.tensor([0.0, -1.0]))
    with pytest.raises(ShapeError, match="expected equal shapes"):
        error_histogram(two, torch.tensor([True]))
    with pytest.raises(ShapeError, match="pass oracle=error_histogram"):
        scores_from_counts(torch.tensor([1, 1]), torch.tensor([0.0, 1.5]))
    with pytest.raises(ShapeError, match="expected the same"):
        scores_from_counts(torch.tensor([1, 1]), torch.tensor([0.0]))
