"""Build wheel and sdist into dist/, the same bytes for the same commit; ``--test`` also tries the wheel.

With ``--test``, everything is built twice and compared, the wheel is installed into an empty environment, and the
command is run from there, up to a whole small study. The files in dist/ carry the time of the last commit, or
``SOURCE_DATE_EPOCH``. Needs git and Python only; everything else is installed into temporary environments.
"""

import argparse
import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent


def run(*command: str | Path, folder: Path, **variables: str) -> str:
    """Return what a command prints; stop with its output if it fails."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | variables
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}\nfailed with exit code {done.returncode}")
    return done.stdout


def environment(folder: Path, *requirements: str | Path) -> Path:
    """Return the folder of the programs of a new environment that holds only what is required."""
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    run(programs / "python", "-m", "pip", "install", "--quiet", *requirements, folder=folder)
    return programs


def snapshot(target: Path) -> Path:
    """Copy the files that git knows, as they are now."""
    for name in run("git", "ls-files", "-z", folder=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    return target


def build(programs: Path, folder: Path, files: Path, *, epoch: str) -> list[Path]:
    """Return wheel and sdist, built in ``folder`` from a copy of the files."""
    source = shutil.copytree(files, folder / "source", copy_function=shutil.copyfile)
    run(programs / "python", "-m", "build", "--outdir", folder / "dist", source, folder=folder, SOURCE_DATE_EPOCH=epoch)
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    repack(sdist, int(epoch))
    return sorted((folder / "dist").iterdir())


def repack(sdist: Path, epoch: int) -> None:
    """Give every file of an sdist one time and no owner, which setuptools takes from the machine."""
    with tarfile.open(sdist) as archive:
        members = sorted(archive.getmembers(), key=lambda member: member.name)
        content = {member.name: file.read() for member in members if (file := archive.extractfile(member))}
    with (
        sdist.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for member in members:
            clean = tarfile.TarInfo(member.name)
            clean.type, clean.size, clean.mtime = member.type, member.size, epoch
            clean.mode = 0o755 if member.isdir() else 0o644
            archive.addfile(clean, io.BytesIO(content.get(member.name, b"")))


def test(wheel: Path, folder: Path) -> None:
    """Install a wheel into an empty environment and run the command from it."""
    programs = environment(folder / "empty", wheel)
    trustseg = programs / "trustseg"
    run(programs / "python", "-m", "pip", "check", folder=folder)
    for command in (("--version",), ("--help",), ("doctor",), ("demo", "--quick", "-o", folder / "demo")):
        print(f"trustseg {' '.join(map(str, command))}\n{run(trustseg, *command, folder=folder)}")
    if not (folder / "demo" / "report.html").is_file():
        sys.exit("trustseg demo --quick wrote no report.html")


def main() -> None:
    """Build, and try what was built if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--test", action="store_true", help="build twice, compare, install and run the wheel")
    wanted = parser.parse_args()
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or run("git", "log", "-1", "--format=%ct", folder=ROOT).strip()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        programs = environment(folder / "tools", "build>=1.2", "twine>=6")
        source = snapshot(folder / "files")
        files = build(programs, folder / "first", source, epoch=epoch)
        print(run(programs / "python", "-m", "twine", "check", "--strict", *files, folder=folder))
        if wanted.test:
            again = build(programs, folder / "second", source, epoch=epoch)
            changed = [one.name for one, two in zip(files, again, strict=True) if one.read_bytes() != two.read_bytes()]
            if changed:
                sys.exit(f"{', '.join(changed)}: a second build gives other bytes")
            test(next(file for file in files if file.suffix == ".whl"), folder)
        shutil.rmtree(ROOT / "dist", ignore_errors=True)
        shutil.copytree(folder / "first" / "dist", ROOT / "dist")
    print(*(f"dist/{file.name}" for file in files), sep="\n")


if __name__ == "__main__":
    main()
