"""What an image needs of the lock.

Called as ``without-cuda LOCK``, ``torch LOCK``, ``check LOCK CPU_LOCK`` or ``unneeded [EXTRA ...]``:
``without-cuda`` prints the lock without torch, torchvision and what they need for CUDA; ``torch`` prints the pins of
these two; ``check`` ends with code 2 unless a lock of their wheels for CPUs has the same versions, with hashes;
``unneeded`` prints the packages beside it that trustseg with some extras does not need, such as for tests.
"""

import re
import sys
from collections.abc import Iterable
from importlib.metadata import distribution, distributions
from pathlib import Path
from typing import Final

TORCH: Final = ("torch", "torchvision")
_CUDA: Final = re.compile(r"nvidia-|cuda-|triton$")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_EXTRA: Final = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


def entries(lock: str) -> list[str]:
    """Return the requirements of a lock, each with its hashes."""
    return [entry for entry in re.split(r"\n(?=\S)", lock.strip()) if entry]


def without_cuda(lock: str) -> str:
    """Return a lock without torch, torchvision and the packages for CUDA."""
    kept = [entry for entry in entries(lock) if not (_CUDA.match(name_of(entry)) or name_of(entry) in TORCH)]
    return "\n".join(kept) + "\n"


def torch_pins(lock: str) -> list[str]:
    """Return ``NAME==VERSION`` of torch and torchvision."""
    return [entry.split()[0] for entry in entries(lock) if name_of(entry) in TORCH]


def faults_of(cpu_lock: Path, lock: str) -> str:
    """Return what is wrong with a lock of the wheels for CPUs, empty if nothing is."""
    if not cpu_lock.is_file():
        return "is not there"
    found = entries(cpu_lock.read_text(encoding="utf-8"))
    pins = [entry.split()[0].partition("+")[0] for entry in found]
    if sorted(pins) != sorted(torch_pins(lock)):
        return f"holds {', '.join(pins) or 'nothing'}, expected {', '.join(torch_pins(lock))}"
    bare = [pin for pin, entry in zip(pins, found, strict=True) if "--hash=sha256:" not in entry]
    return f"has no hash of {', '.join(bare)}" if bare else ""


def unneeded(extras: Iterable[str], *, root: str = "trustseg") -> list[str]:
    """Return the installed packages that a package with some extras does not need, directly or through others."""
    needed: set[str] = set()
    waiting: list[tuple[str, frozenset[str]]] = [(root, frozenset(extras))]
    while waiting:
        name, asked = waiting.pop()
        if name in needed and not asked:
            continue
        needed.add(name)
        try:
            requirements = distribution(name).requires or []
        except ModuleNotFoundError:  # of another system or Python
            continue
        for requirement in requirements:
            wanted = _EXTRA.findall(requirement)
            if not wanted or any(extra in asked for extra in wanted):
                inner = re.match(r"[A-Za-z0-9._-]+\s*\[([^\]]*)\]", requirement)
                more = frozenset(part.strip() for part in inner[1].split(",")) if inner else frozenset()
                waiting.append((name_of(requirement), more))
    return sorted({name_of(each.metadata["Name"]) for each in distributions()} - needed)


def name_of(requirement: str) -> str:
    """Return the normalised name that a requirement begins with."""
    found = _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", found[0] if found else "").lower()


def main(verb: str, *arguments: str) -> None:
    """Print what is asked for."""
    if verb == "unneeded":
        print(*unneeded(arguments), sep="\n")
    elif verb in ("without-cuda", "torch"):
        lock = Path(arguments[0]).read_text(encoding="utf-8")
        print(without_cuda(lock) if verb == "without-cuda" else "\n".join(torch_pins(lock)), end="\n")
    elif verb == "check":
        if fault := faults_of(Path(arguments[1]), Path(arguments[0]).read_text(encoding="utf-8")):
            print(f"'{arguments[1]}' {fault}; run 'make lock-cpu', or build the variant cuda", file=sys.stderr)
            sys.exit(2)
    else:
        sys.exit(f"{verb}: expected without-cuda, torch, check or unneeded")


if __name__ == "__main__":
    main(*sys.argv[1:])
