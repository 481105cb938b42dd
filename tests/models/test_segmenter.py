import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.vectors import load_vectors
from torch import Tensor, nn

from trustseg.beliefs import Bernoulli, Beta
from trustseg.errors import MissingFileError, ModelError, ShapeError, UnknownNameError
from trustseg.models import HEADS, Segmenter, build_segmenter
from trustseg.models.segmenter import SegmenterSpec

Spoil = Callable[[Path], object]


class Constant(nn.Module):
    """Gives the same logits for every pixel, and remembers what it was shown."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)
        self.seen = torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return self.logits.view(1, -1, 1, 1).expand(len(images), -1, *images.shape[2:])


def constant(head: str, *logits: float, prior: float = 1.0, channels: int = 1) -> tuple[Segmenter, Constant]:
    network = Constant(*logits)
    return Segmenter(SegmenterSpec("unet", "resnet18", head, channels=channels, prior=prior), network), network


@pytest.fixture(scope="module")
def trained() -> Segmenter:
    """A beta U-Net whose statistics have moved, as after training."""
    torch.manual_seed(0)
    segmenter = build_segmenter(architecture="unet", encoder="resnet18", head="beta", size=64)
    with torch.no_grad():
        segmenter.belief(torch.rand(2, 1, 32, 32))
    return segmenter.eval()


# --- from logits to beliefs ------------------------------------------------------------------------------------------


def test_the_bernoulli_head_is_the_logit() -> None:
    belief = constant("bernoulli", -1.5)[0].belief(torch.rand(2, 1, 5, 7))
    assert isinstance(belief, Bernoulli)
    torch.testing.assert_close(belief.logits, torch.full((2, 1, 5, 7), -1.5))


def test_the_beta_head_adds_softplus_evidence_to_the_prior() -> None:
    belief = constant("beta", 0.0, 3.0, prior=0.5)[0].belief(torch.rand(1, 1, 3, 2))
    assert isinstance(belief, Beta)
    torch.testing.assert_close(belief.alpha, torch.full((1, 1, 3, 2), 0.5 + 0.6931472))  # ln 2
    torch.testing.assert_close(belief.beta, torch.full((1, 1, 3, 2), 0.5 + 3.0485873))
    assert belief.prior == 0.5
    assert bool((belief.probability < 0.5).all())  # the second output speaks for background


def test_the_beta_head_gives_the_golden_vectors() -> None:
    for case in load_vectors("evidential")["head"]["cases"]:
        segmenter, _ = constant("beta", case["logit_one"], case["logit_zero"], prior=case["prior"])
        belief = segmenter.belief(torch.zeros(1, 1, 1, 1))
        assert isinstance(belief, Beta)
        assert belief.alpha.item() == pytest.approx(case["expect"]["alpha"], rel=1e-6)
        assert belief.beta.item() == pytest.approx(case["expect"]["beta"], rel=1e-6)


def test_no_evidence_at_all_is_the_prior() -> None:
    belief = constant("beta", -200.0, -200.0)[0].belief(torch.zeros(1, 1, 1, 1))
    assert isinstance(belief, Beta)
    assert (belief.alpha.item(), belief.beta.item(), belief.vacuity().item()) == (1.0, 1.0, 1.0)


def test_images_are_normalised_and_padded_by_their_border() -> None:
    segmenter, network = constant("bernoulli", 0.0)
    images = torch.rand(1, 1, 33, 20)
    segmenter.belief(images)
    assert network.seen.shape == (1, 1, 64, 32)
    torch.testing.assert_close(network.seen[..., :33, :20], (images - 0.5) / 0.25)
    assert torch.equal(network.seen[..., 33:, :20], network.seen[..., 32:33, :20].expand(1, 1, 31, 20))
    assert torch.equal(network.seen[..., :, 20:], network.seen[..., :, 19:20].expand(1, 1, 64, 12))
    segmenter.belief(torch.rand(1, 1, 64, 32))
    assert network.seen.shape == (1, 1, 64, 32)


def test_the_padding_is_cut_off_where_it_was_added(trained: Segmenter) -> None:
    images = torch.rand(1, 1, 40, 50, generator=torch.Generator().manual_seed(0))
    padded = nn.functional.pad(images, (0, 14, 0, 24), mode="replicate")
    with torch.no_grad():
        expected = trained.belief(padded).probability[..., :40, :50]
        torch.testing.assert_close(trained.belief(images).probability, expected)


@pytest.mark.parametrize("head", HEADS)
def test_beliefs_are_float32_under_autocast_and_float64_in_float64(head: str) -> None:
    segmenter = build_segmenter(encoder="resnet18", head=head).eval()
    images = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        plain = segmenter.belief(images).probability
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = segmenter.belief(images)
            assert mixed.probability.dtype == torch.float32
            assert mixed.uncertainty("entropy").dtype == torch.float32
        torch.testing.assert_close(mixed.probability, plain, atol=0.1, rtol=0.1)
        assert segmenter.double().belief(images.double()).probability.dtype == torch.float64


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 8, 8), (8, 8), (1, 1, 1, 8, 8), (2, 2, 8, 8)])
def test_images_of_another_shape_get_a_sentence(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"must be \(B, 1, H, W\), got .*data\.channels"):
        constant("bernoulli", 0.0)[0].belief(torch.zeros(shape))


def test_gradients_reach_the_images(trained: Segmenter) -> None:
    images = torch.rand(1, 1, 33, 40, requires_grad=True)
    (gradient,) = torch.autograd.grad(trained.belief(images).log_odds.sum(), images)
    assert gradient.shape == images.shape
    assert float(gradient.abs().sum()) > 0


# --- building --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"architecture": "unnet"}, "did you mean 'unet'"),
        ({"head": "betta"}, "did you mean 'beta'"),
    ],
)
def test_an_unknown_part_names_the_nearest(options: dict[str, str], words: str) -> None:
    with pytest.raises(UnknownNameError, match=words):
        build_segmenter(**options)  # type: ignore[arg-type]  # only names


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_other_channels_get_a_sentence(channels: int) -> None:
    with pytest.raises(ModelError, match=f"1 or 3 channels, got {channels}"):
        build_segmenter(channels=channels)


@pytest.mark.parametrize("prior", [0.0, -1.0, float("nan"), float("inf")])
def test_a_prior_that_is_none_gets_a_sentence(prior: float) -> None:
    with pytest.raises(ModelError, match="above 0 and finite"):
        build_segmenter(prior=prior)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "encoder", "head", "channels"),
    [("unet", "resnet18", "bernoulli", 3), ("fcn", "resnet50", "beta", 1), ("deeplab_v3_plus", "resnet18", "beta", 1)],
)
def test_a_saved_model_is_loaded_bit_for_bit(
    tmp_path: Path, architecture: str, encoder: str, head: str, channels: int
) -> None:
    segmenter = build_segmenter(
        architecture=architecture, encoder=encoder, head=head, channels=channels, size=96, prior=0.5
    ).to(memory_format=torch.channels_last)
    images = torch.rand(2, channels, 32, 32)
    with torch.no_grad():
        segmenter.belief(images)  # move the batch statistics
        expected = segmenter.eval().belief(images)
        segmenter.train().save(tmp_path / "model")
        again = Segmenter.load(tmp_path / "model", head=head)
        found = again.belief(images)
    assert again.spec == segmenter.spec
    assert not again.training
    assert {name: value.dtype for name, value in again.state_dict().items()} == {
        name: value.dtype for name, value in segmenter.state_dict().items()
    }
    assert all(torch.equal(value, segmenter.state_dict()[name]) for name, value in again.state_dict().items())
    torch.testing.assert_close(found.log_odds, expected.log_odds)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]


def test_loading_leaves_the_global_random_state_alone(tmp_path: Path, trained: Segmenter) -> None:
    trained.save(tmp_path)
    before = torch.random.get_rng_state()
    Segmenter.load(tmp_path)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_model_of_another_head_is_refused_with_both_names(tmp_path: Path, trained: Segmenter) -> None:
    with pytest.raises(ModelError, match=r"holds a beta head, a bernoulli head was expected; set model\.head=beta"):
        Segmenter.load(trained.save(tmp_path), head="bernoulli")


def changed(**fields: object) -> Spoil:
    def spoil(folder: Path) -> None:
        file = folder / "model.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))

    return spoil


def one_bit_flipped(folder: Path) -> None:
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1000] ^= 1
    file.write_bytes(content)


def truncated(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-7])


def other_weights(head: str) -> Spoil:
    def spoil(folder: Path) -> None:
        other = build_segmenter(head=head).save(folder / "other")
        (other / "model.safetensors").replace(folder / "model.safetensors")

    return spoil


def without_a_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop("network.encoder.conv1.weight")
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "model.json").write_text("{"), "model.json' is not a model description"),
        (lambda folder: (folder / "model.json").write_bytes(b"\xff\xfe"), "is not a model description"),
        (lambda folder: (folder / "model.json").write_text("[1]"), "is not a model description"),
        (lambda folder: (folder / "model.json").write_text("3"), "is not a model description"),
        (lambda folder: (folder / "model.json").write_text("{}"), "is not a model description"),
        (changed(surprise=1), "is not a model description"),
        (changed(architecture=["unet"]), "architecture is ['unet']"),
        (changed(prior="1"), "prior is '1'"),
        (changed(size=True), "size is True"),
        (changed(deviation=0), "above 0 and finite"),
        (changed(channels=2), "1 or 3 channels"),
        (changed(architecture="unit"), "did you mean 'unet'"),
        (changed(head="gauss"), "unknown head 'gauss'"),
        (changed(format=2, novelty=3), "has format 2, format 1 was expected"),
        (changed(encoder="resnet34"), "copy both files from the same run"),
        (changed(architecture="fpn"), "copy both files from the same run"),
        (changed(head="bernoulli"), "copy both files from the same run"),
        (other_weights("bernoulli"), "copy both files from the same run"),
        (other_weights("beta"), "sha256 differs"),
        (one_bit_flipped, "sha256 differs"),
        (truncated, "copy both files from the same run"),
        (without_a_tensor, "copy both files from the same run"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "does not fit"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04." * 99), "does not fit"),  # a pickle
    ],
)
def test_a_spoilt_model_gets_one_sentence(tmp_path: Path, trained: Segmenter, spoil: Spoil, words: str) -> None:
    trained.save(tmp_path)
    spoil(tmp_path)
    with pytest.raises((ModelError, UnknownNameError)) as caught:
        Segmenter.load(tmp_path)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert len(message) < 600


def test_a_model_without_a_hash_is_still_read(tmp_path: Path, trained: Segmenter) -> None:
    trained.save(tmp_path)
    about = json.loads((tmp_path / "model.json").read_text())
    del about["sha256"]
    (tmp_path / "model.json").write_text(json.dumps(about))
    assert Segmenter.load(tmp_path).spec == trained.spec


@pytest.mark.parametrize("missing", ["model.json", "model.safetensors", ""])
def test_a_missing_file_is_named(tmp_path: Path, trained: Segmenter, missing: str) -> None:
    if missing:
        trained.save(tmp_path)
        (tmp_path / missing).unlink()
    with pytest.raises(MissingFileError, match=f"no {missing or 'model.json'} in .*'model' folder"):
        Segmenter.load(tmp_path)


def test_a_full_disk_leaves_the_old_model_whole(
    tmp_path: Path, trained: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.save(tmp_path)

    def fill(file: Path, content: bytes) -> NoReturn:
        with file.open("wb") as stream:
            stream.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    other = build_segmenter(head="beta")
    with monkeypatch.context() as context:
        context.setattr(Path, "write_bytes", fill)
        with pytest.raises(OSError, match="No space left"):
            other.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    assert Segmenter.load(tmp_path).weights() == trained.weights()
