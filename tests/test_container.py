"""The container: built and run where a builder is installed and asked for, its instructions read everywhere.

``make container-test`` builds. The default run reads the Containerfile and the Apptainer definition, and has
``hadolint`` read the former too where it is installed.
"""

import fnmatch
import importlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
FILE = ROOT / "Containerfile"
DEFINITION = ROOT / "container" / "trustseg.def"
INSTALL = ROOT / "container" / "install.sh"
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction of a Containerfile with its arguments, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), " ".join(rest.split())


ALL = list(instructions(FILE.read_text(encoding="utf-8")))
LAST = ALL[max(number for number, (name, _) in enumerate(ALL) if name == "FROM") :]


def values(name: str, among: list[tuple[str, str]]) -> list[str]:
    return [rest for each, rest in among if each == name]


def sections() -> dict[str, str]:
    """Return the sections of the Apptainer definition, its head under an empty name."""
    head, *rest = re.split(r"^%(\w+)\n", DEFINITION.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {"": head, **dict(zip(rest[::2], rest[1::2], strict=True))}


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "container"))
    return importlib.import_module("packages")


def test_bases_have_a_version_and_both_files_have_the_same() -> None:
    arguments = dict(value.partition("=")[::2] for value in values("ARG", ALL))
    bases = [re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], base.split()[0]) for base in values("FROM", ALL)]
    inside = re.findall(r"^From: (\S+)$", sections()[""], flags=re.MULTILINE)
    for base in (*bases, *inside):
        tag = base.rpartition("/")[2].partition(":")[2]
        assert re.match(r"\d+\.\d+", tag), base
    assert {base.removeprefix("docker.io/library/") for base in bases} == set(inside)


def test_nobody_is_root_and_only_volumes_are_written_to() -> None:
    (user,) = values("USER", LAST)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)  # a number, as Kubernetes checks
    assert LAST.index(("USER", user)) > max(number for number, (name, _) in enumerate(LAST) if name in ("RUN", "COPY"))
    volumes = re.findall(r'"([^"]+)"', values("VOLUME", LAST)[0])
    variables = dict(word.split("=", 1) for line in values("ENV", LAST) for word in shlex.split(line))
    for name in ("HOME", "XDG_CACHE_HOME", "TRUSTSEG_CACHE", "TORCH_HOME", "MPLCONFIGDIR", "TMPDIR"):
        assert any(f"{variables[name]}/".startswith(f"{volume}/") for volume in volumes), name
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"
    assert values("WORKDIR", LAST)[0] in volumes
    assert values("ENTRYPOINT", LAST) == ['["trustseg"]']
    assert values("STOPSIGNAL", LAST) == ["SIGTERM"]  # which ends --watch after the file at hand


def test_every_installation_is_by_the_lock() -> None:
    text = INSTALL.read_text(encoding="utf-8")
    calls = [line for line in re.sub(r"\\\n", " ", text).splitlines() if re.search(r"\bpip\"? install\b", line)]
    assert len(calls) == 4
    for call in calls:
        own = call.rstrip().endswith(" .")
        assert ("--no-deps" in call) if own else ("--require-hashes" in call), call
    for text in (FILE.read_text(encoding="utf-8"), sections()["post"]):
        assert "container/install.sh" in text
        assert not re.search(r"curl|wget|apt-get|\bADD\b|latest", text)
    subprocess.run(["sh", "-n", INSTALL], check=True)
    assert INSTALL.stat().st_mode & 0o111


def test_the_lock_without_cuda_lacks_nothing_else(packages: ModuleType) -> None:
    whole, rest = packages.entries(LOCK), packages.entries(packages.without_cuda(LOCK))
    gone = {packages.name_of(entry) for entry in whole} - {packages.name_of(entry) for entry in rest}
    assert gone >= {"torch", "torchvision", "triton"}
    assert all(name.startswith(("nvidia-", "cuda-")) for name in gone - {"torch", "torchvision", "triton"})
    assert set(rest) < set(whole)
    assert [pin.partition("==")[0] for pin in packages.torch_pins(LOCK)] == ["torch", "torchvision"]


def test_the_wheels_for_cpus_have_hashes_and_the_versions_of_the_lock(tmp_path: Path, packages: ModuleType) -> None:
    assert "packages.py check requirements.lock container/torch-cpu.lock\n" in INSTALL.read_text(encoding="utf-8")
    file = tmp_path / "torch-cpu.lock"
    first, second = packages.torch_pins(LOCK)
    hashed = f"{first}+cpu \\\n    --hash=sha256:{'0' * 64}\n"

    def refused(content: str | None) -> str:
        if content is not None:
            file.write_text(content)
        command: list[str | Path] = [sys.executable, ROOT / "container" / "packages.py", "check"]
        done = subprocess.run([*command, ROOT / "requirements.lock", file], capture_output=True, text=True, check=False)
        assert done.returncode == (2 if done.stderr else 0)
        return str(done.stderr)

    assert "make lock-cpu" in refused(None)
    assert f"has no hash of {second}" in refused(f"{hashed}{second}+cpu\n")
    assert f"expected {first}, {second}" in refused(hashed)
    assert "torch==0.1" in refused(f"{hashed}{second}\n".replace(first, "torch==0.1"))
    assert refused(f"{hashed}{second}+cpu --hash=sha256:{'1' * 64}\n") == ""


def test_what_trustseg_needs_stays_and_what_tests_need_goes(packages: ModuleType) -> None:
    """As far as it is installed here, which the lock is in development."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked = re.findall(r'^extras="(.*)"$', INSTALL.read_text(encoding="utf-8"), flags=re.MULTILINE)[0].split()
    assert set(asked) < set(extras)
    gone = set(packages.unneeded(asked))
    assert "pytest" in gone
    assert not gone & {"trustseg", "torch", "numpy", "pydantic-core", "typing-extensions", "pillow", "polars", "sympy"}
    needed = {packages.name_of(line) for extra in asked for line in extras[extra]}
    assert not gone & needed


def test_what_is_copied_is_there_and_sent_to_the_builder() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert ignored[0] == "*"
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    sources = [word for line in values("COPY", ALL) if "--from" not in line for word in line.split()[:-1]]
    inside = [line.split()[0] for line in sections()["files"].splitlines() if line.strip()]
    assert {Path(source).as_posix() for source in sources} == set(inside) == sent
    for source in sent:
        assert (ROOT / source).exists()
    assert not any(fnmatch.fnmatch(name, "*data*") or name == ".git" for name in sent)


def test_the_definition_runs_as_whoever_starts_it() -> None:
    found = sections()
    assert {"", "arguments", "files", "post", "environment", "runscript", "test", "labels", "help"} == set(found)
    assert 'exec trustseg "$@"' in found["runscript"]
    assert "VARIANT=cuda" in found["arguments"]
    assert "{{ VARIANT }}" in found["post"]
    assert "PYTHONNOUSERSITE=1" in found["environment"]
    assert "TMPDIR" in found["environment"]


def test_hadolint_has_nothing_to_say() -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed; the instructions are checked above")
    found = subprocess.run(["hadolint", FILE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def builder() -> str:
    """Return a program that builds images here; skips if there is none, or none that answers."""
    for name in ("podman", "docker"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True, check=False).returncode == 0:
            return name
    pytest.skip("neither podman nor docker answers here; the instructions are checked by the other tests")


@pytest.mark.container
def test_the_image_builds_and_runs_without_root_and_without_writing(tmp_path: Path) -> None:
    program = builder()
    tag = "trustseg:tested"
    subprocess.run(
        [program, "build", "-f", FILE, "--build-arg", "VARIANT=cpu", "-t", tag, ROOT], check=True, timeout=3600
    )
    locked = [program, "run", "--rm", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"]
    assert "trustseg" in subprocess.check_output([*locked, tag, "--version"], text=True)
    assert subprocess.check_output([*locked, "--entrypoint", "id", tag, "-u"], text=True).strip() == "10001"
    assert "kornia" in subprocess.check_output([*locked, "--network=none", tag, "doctor"], text=True)
