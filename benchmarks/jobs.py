"""What cells side by side gain: images a second of several workers on one device, against one worker."""

from collections.abc import Iterator

from benchmarks.scenes import ON_GPU, run_of
from benchmarks.timing import Figure
from trustseg.study.trial import images_a_second

SIZES = (224,) if ON_GPU else (64, 128)


def figures() -> Iterator[Figure]:
    """Yield what the number of workers that ``--jobs auto`` takes trains, in units of what one trains."""
    for size in SIZES:
        rates = images_a_second(run_of(size=size), seconds=10)
        best = max(rates, key=lambda count: rates[count])
        details = {f"images_a_second_{count}": rate for count, rate in rates.items()}
        name = f"forward and backward passes, {size} px: {best} side by side / one"
        yield Figure(name, rates[best] / rates[1], better="more", details=details)
