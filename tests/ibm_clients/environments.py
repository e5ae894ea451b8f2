"""Make an environment of one of the clients that do not fit beside the package.

    python tests/ibm_clients/environments.py runtime-0.15.1

installs what `requirements/runtime-0.15.1.txt` pins into `.run/clients/runtime-0.15.1`, with uv or
with pip, unless it is there. Standard library only. Ends with 3 where there is no Python that the
client installs on; `CLIENT_PYTHON` names one, if the usual places have none.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
REQUIREMENTS = Path(__file__).parent / "requirements"
# Packages without a wheel need an old setuptools to be built.
BUILD_CONSTRAINTS = REQUIREMENTS / "build.txt"
# qiskit-terra 0.25 and qiskit 0.45 have no wheels for later ones.
PYTHON = "3.11"
NO_PYTHON = 3
WITH_PACKAGE = ("floor", "task-runners")


def main() -> int:
    """Make the environment that the command line names."""
    parser = argparse.ArgumentParser(description="Make the environment of an old client.")
    parser.add_argument("name", choices=sorted(path.stem for path in REQUIREMENTS.glob("*.in")))
    name = parser.parse_args().name
    target = ROOT / ".run" / "clients" / name
    requirements = REQUIREMENTS / f"{name}.txt"
    ready = target / ".ready"
    if ready.exists() and ready.stat().st_mtime >= requirements.stat().st_mtime:
        return 0
    python = next(_pythons(), None)
    if python is None:
        print(
            f"No Python {PYTHON} was found for {name}, which installs on no later one. Looked for"
            f" CLIENT_PYTHON, python{PYTHON}, pyenv's versions and uv's. Install it, for example"
            f" with `uv python install {PYTHON}`, or name it: CLIENT_PYTHON=/path/to/python.",
            file=sys.stderr,
        )
        return NO_PYTHON
    print(f"Installing {name} into {target.relative_to(ROOT)} with {python} ...")
    if shutil.which("uv"):
        _install_with_uv(python, target, requirements)
    else:
        _install_with_pip(python, target, requirements)
    if name in WITH_PACKAGE:
        _add_package(target)
    ready.touch()
    return 0


def _install_with_uv(python: str, target: Path, requirements: Path) -> None:
    _run("uv", "venv", "--quiet", "--clear", "--python", python, target)
    _run(
        *("uv", "pip", "install", "--quiet", "--python", target / "bin" / "python"),
        *("--require-hashes", "--build-constraints", BUILD_CONSTRAINTS, "-r", requirements),
    )


def _install_with_pip(python: str, target: Path, requirements: Path) -> None:
    _run(python, "-m", "venv", "--clear", target)
    _run(
        *(target / "bin" / "python", "-m", "pip", "install", "--quiet"),
        # The list is whole; pip 23 would resolve extras past their pins.
        *("--disable-pip-version-check", "--no-deps", "--require-hashes", "-r", requirements),
        # Older pips take no constraints for builds alone, but hand this one on to them.
        PIP_CONSTRAINT=str(BUILD_CONSTRAINTS),
    )


def _add_package(target: Path) -> None:
    """Put the package itself into an environment that has all that it needs."""
    options = ("--quiet", "--no-deps", "--no-build-isolation", "-e", ROOT)
    python = target / "bin" / "python"
    if shutil.which("uv"):
        _run("uv", "pip", "install", "--python", python, *options)
    else:
        _run(python, "-m", "pip", "install", "--disable-pip-version-check", *options)


def _run(*command: str | Path, **variables: str) -> None:
    subprocess.run([str(part) for part in command], check=True, env={**os.environ, **variables})


def _pythons() -> Iterator[str]:
    """Give interpreters of the version that run: names on the path may be pyenv's empty shims."""
    candidates = [os.environ.get("CLIENT_PYTHON"), f"python{PYTHON}", sys.executable]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates += [str(path / "bin" / "python") for path in sorted(pyenv.glob(f"{PYTHON}.*"))]

    for candidate in itertools.chain(candidates, _of_uv()):
        if candidate and _version(candidate) == PYTHON:
            yield candidate


def _of_uv() -> Iterator[str]:
    """Give what uv knows; it fetches an interpreter if it may and there is none."""
    if shutil.which("uv"):
        for command in (["find", "--system"], ["install"], ["find", "--managed-python"]):
            done = _ask("uv", "python", *command, PYTHON)
            if command[0] == "find" and done:
                yield done


def _version(python: str) -> str:
    return _ask(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")


def _ask(*command: str) -> str:
    """Return what a command prints; nothing if it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
