"""What random views cost, as a share of the step that trains on them."""

from collections.abc import Iterator

from benchmarks.scenes import DEVICE, ON_GPU, bare_step, random_batch, usual_segmenter
from benchmarks.timing import Figure, seconds_of
from trustseg.data.augment import augmented

SIZE = 224
STEPS = 50 if ON_GPU else 2


def figures() -> Iterator[Figure]:
    """Yield the time of augmenting a batch in units of a clean step."""
    step, (images, masks) = bare_step(usual_segmenter(SIZE)), random_batch(SIZE)
    works = {
        "augmentation": lambda: [augmented(images, masks, seed=seed) for seed in range(STEPS)],
        "step": lambda: [step(images, masks) for _ in range(STEPS)],
    }
    seconds_of(works, repeats=1)  # kernels are chosen at the first call
    times = {way: seconds / STEPS for way, seconds in seconds_of(works, repeats=5).items()}
    details = {f"{way}_seconds": seconds for way, seconds in times.items()}
    ratio = times["augmentation"] / times["step"]
    yield Figure(f"augmentation / clean step, {SIZE} px, on the {DEVICE.type}", ratio, target=0.10, details=details)
