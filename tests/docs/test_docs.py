"""Everything that the documentation shows is executed as a reader would do it.

A fenced block with a title is a file; other Python blocks of a page run in order in one namespace;
lines of a console block that begin with `$` are commands.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.flow_processes import flow_environment

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# These speak of files of the repository; readers of the others start with an empty folder.
IN_REPOSITORY = (
    "README.md",
    "backend-health.md",
    "dissociation-curve.md",
    "error-mitigation.md",
    "program-pipeline.md",
    "qaoa.md",
    "quantum-kernel.md",
    "vqe.md",
)

# These are what runs this test, or install what is not needed for anything else.
NOT_RUN_HERE = ("make test", "make bench", "make molecules", "pip install")

FENCE = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    title: str | None
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    content = page.read_text()
    for match in FENCE.finditer(content):
        line = content.count("\n", 0, match.start()) + 2
        yield Block(match["language"], match["title"], match["text"], line)


def has_code(page: Path) -> bool:
    return any(block.language in ("python", "console") for block in blocks(page))


def environment() -> dict[str, str]:
    """The variables of a shell in which the project's environment is active."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return flow_environment(PATH=path)


def run_console(text: str, folder: Path) -> None:
    for line in text.splitlines():
        command = line.removeprefix("$ ")
        if command == line or command.startswith(NOT_RUN_HERE):
            continue
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"


@pytest.fixture
def variables_of_its_own() -> Iterator[None]:
    """Environment variables that a page sets are removed after it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if has_code(page)], ids=lambda page: str(page.relative_to(ROOT))
)
@pytest.mark.usefixtures("service_home", "prefect_server", "variables_of_its_own")
def test_what_a_page_shows_works(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ROOT if page.name in IN_REPOSITORY else tmp_path
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        if block.title is not None:
            file = folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
        elif block.language == "python":
            code = "\n" * (block.line - 1) + block.text
            exec(compile(code, str(page), "exec"), namespace)
        elif block.language == "console":
            run_console(block.text, folder)


ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"


PICTURE = ROOT / "docs" / "images" / "rooms.svg"
SVG = "{http://www.w3.org/2000/svg}"
CALLERS_PROCESS_ENDS = 610  # its frame in the picture; a service is to the right


def modules_and_rooms() -> set[str]:
    package = ROOT / "prefect_qiskit_runtime"
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    return modules | {path.parent.name for path in package.glob("*/__init__.py")}


def test_the_map_of_the_package_shows_every_module_and_no_other():
    page = ARCHITECTURE.read_text()
    section = page[page.index("## Rooms") : page.index("## Where a change goes")]
    assert set(re.findall(r"`(\w+)`", section)) == modules_and_rooms()


def test_the_picture_of_the_package_shows_every_module_and_room():
    texts = [text.text or "" for text in ElementTree.parse(PICTURE).iter(f"{SVG}text")]
    assert modules_and_rooms() - set(re.findall(r"\w+", " ".join(texts))) == set()


def test_rooms_of_the_picture_import_only_rooms_below_them_or_to_their_right():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = pyproject["tool"]["importlinter"]["contracts"]
    layers = [re.findall(r"\w+", layer) for layer in contracts[0]["layers"]]
    floors = {name: floor for floor, names in enumerate(layers) for name in names}
    titles = [
        (float(text.get("y", 0)), float(text.get("x", 0)), text.text or "")
        for text in ElementTree.parse(PICTURE).iter(f"{SVG}text")
        if text.get("font-weight") == "bold" and float(text.get("x", 0)) < CALLERS_PROCESS_ENDS
    ]
    names = [name for *_, title in sorted(titles) for name in re.findall(r"\w+", title)]
    rooms = [name for name in names if name in floors]
    assert {"pubs", "block_fields", "client", "errors"} < set(rooms)
    assert rooms == sorted(rooms, key=lambda name: floors[name])


PLACE = re.compile(r"`([^`]+)`(?: \(`(\w+)`\))?")
"""A file or folder of the package and, if named, something in the file: `file.py` (`name`)."""


def places_to_look_into() -> list[tuple[Path, str]]:
    page = ARCHITECTURE.read_text()
    table = page[page.index("## Where a change goes") :]
    places = [
        (ROOT / "prefect_qiskit_runtime" / place, name) for place, name in PLACE.findall(table)
    ]
    assert places
    return places


def test_places_to_look_into_exist():
    assert [str(place) for place, _ in places_to_look_into() if not place.exists()] == []


def test_names_after_places_are_in_these_files():
    named = [(place, name) for place, name in places_to_look_into() if name]
    assert named
    assert [name for place, name in named if name not in place.read_text()] == []
