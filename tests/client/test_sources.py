"""The forms in which a user may give a program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefect_qiskit_runtime.client import read_changes, read_program, read_source
from prefect_qiskit_runtime.errors import ConfigurationError, InvalidInputError
from prefect_qiskit_runtime.models import ProgramMetadata

SOURCE = "def main(backend, user_messenger):\n    return 'é'\n"


@pytest.fixture
def source_file(tmp_path: Path) -> Path:
    path = tmp_path / "my_program.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def test_a_source_is_a_path_or_text_or_bytes(source_file: Path) -> None:
    one_line = "def main(backend, user_messenger): return 1"
    assert read_source(source_file) == SOURCE
    assert read_source(str(source_file)) == SOURCE
    assert read_source(SOURCE) == SOURCE
    assert read_source(SOURCE.encode()) == SOURCE
    assert read_source(one_line) == one_line


def test_the_file_gives_the_name_when_nothing_else_does(source_file: Path) -> None:
    assert read_program(source_file).metadata == ProgramMetadata(name="my_program")
    assert read_program(source_file, {"name": "other"}).metadata.name == "other"


def test_text_needs_a_name() -> None:
    with pytest.raises(ConfigurationError, match="needs a name"):
        read_program(SOURCE)
    with pytest.raises(ConfigurationError, match="needs a name"):
        read_program(SOURCE.encode(), {"description": "d"})


def test_keywords_win_over_metadata(tmp_path: Path) -> None:
    path = tmp_path / "metadata.json"
    spec = {"parameters": {"type": "object"}}
    fields = {"name": "n", "description": "d", "cost": 60, "spec": spec, "is_public": True}
    path.write_text(json.dumps(fields))
    draft = read_program(SOURCE, path, description="better", max_execution_time=5)
    assert draft.source == SOURCE
    assert draft.metadata.model_dump(exclude_none=True) == {
        "name": "n",
        "description": "better",
        "max_execution_time": 5,
        "spec": spec,
        "is_public": True,
    }


@pytest.mark.parametrize("field", ["cost", "max_execution_time"])
def test_both_names_of_the_limit_are_read(field: str) -> None:
    assert read_changes({field: 60}) == {"max_execution_time": 60}


def test_changes_hold_what_is_given_only() -> None:
    assert read_changes() == {}
    assert read_changes({"description": ""}) == {"description": ""}
    assert read_changes(ProgramMetadata(name="n"), name="m")["name"] == "m"
    assert read_changes(spec={"parameters": {"type": "object"}}) == {
        "spec": {"parameters": {"type": "object"}}
    }


def test_a_broken_rule_names_its_place() -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_changes({"max_execution_time": -1})
    assert caught.value.path == "$.max_execution_time"
    assert caught.value.rule == "Input should be greater than or equal to 1"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.py: No such file"):
        read_source(str(tmp_path / "nothing.py"))
    latin = tmp_path / "latin.py"
    latin.write_bytes(b"# \xe9\n")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        read_source(latin)
    for content, message in [("{", "not JSON"), ("[]", "not an object")]:
        path = tmp_path / "metadata.json"
        path.write_text(content)
        with pytest.raises(ConfigurationError, match=message):
            read_changes(path)
