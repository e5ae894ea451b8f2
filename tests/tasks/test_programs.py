"""Programs as a flow sees them, through the real embedded service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefect_qiskit_runtime import (
    ConfigurationError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    RuntimeProgram,
    programs as tasks,
)

pytestmark = pytest.mark.usefixtures("service_home")

SOURCE = "def main(backend, user_messenger, word='one'):\n    return word\n"
CHANGED = SOURCE.replace("one", "two")
upload_program = tasks.upload_program.fn


def test_uploading_the_same_content_again_gives_the_same_id_and_version() -> None:
    first = upload_program(SOURCE, name="same")
    assert upload_program(SOURCE, name="same") == first
    assert tasks.get_program.fn(first).version == 1


def test_a_changed_source_follows_if_exists() -> None:
    first = upload_program(SOURCE, name="changing")
    assert upload_program(CHANGED, name="changing") == first
    assert tasks.get_program.fn(first).version == 2
    with pytest.raises(ConflictError, match="changing"):
        upload_program(SOURCE, name="changing", if_exists="error")
    assert upload_program(SOURCE, name="changing", if_exists="new") != first


def test_metadata_may_be_a_file_and_keywords_win_over_it(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(SOURCE)
    metadata = tmp_path / "one.json"
    metadata.write_text(json.dumps({"name": "from-file", "description": "A.", "cost": 30}))
    program_id = upload_program(tmp_path / "one.py", metadata, description="B.")
    program = tasks.get_program.fn(program_id)
    assert (program.name, program.description, program.cost) == ("from-file", "B.", 30)
    assert program.data == SOURCE


def test_a_program_is_made_public_by_its_metadata_or_a_keyword() -> None:
    public = upload_program(SOURCE, {"name": "published", "is_public": True})
    assert tasks.get_program.fn(public).is_public
    assert upload_program(CHANGED, name="published") == public
    assert tasks.get_program.fn(public).is_public
    upload_program(CHANGED, name="published", is_public=False)
    assert not tasks.get_program.fn(public).is_public


def test_the_metadata_beside_the_source_is_found(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(SOURCE)
    (tmp_path / "two.json").write_text(json.dumps({"name": "beside", "description": "A."}))
    program = tasks.get_program.fn(upload_program(tmp_path / "two.py"))
    assert (program.name, program.description) == ("beside", "A.")


def test_a_misspelt_field_of_the_metadata_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no field 'desc'") as caught:
        upload_program(SOURCE, {"name": "misspelt", "desc": "A."})
    assert caught.value.path == "$.desc"


def test_metadata_in_the_oldest_form_is_understood() -> None:
    parameters = [{"name": "n", "description": "How many", "type": "int", "required": True}]
    older = {"name": "older", "version": "1.0", "cost": 300, "parameters": parameters}
    program = tasks.get_program.fn(upload_program(SOURCE, older))
    assert program.cost == 300
    assert program.spec.parameters == {
        "type": "object",
        "properties": {"n": {"description": "How many (int)"}},
        "required": ["n"],
    }


def test_a_program_is_updated_and_deleted() -> None:
    program_id = upload_program(SOURCE, name="updated")
    tasks.update_program.fn(program_id, source=CHANGED, description="Changed.")
    program = tasks.get_program.fn(program_id)
    assert (program.data, program.description) == (CHANGED, "Changed.")
    with pytest.raises(ConfigurationError, match="Nothing to change"):
        tasks.update_program.fn(program_id)
    tasks.delete_program.fn(program_id)
    with pytest.raises(NotFoundError):
        tasks.get_program.fn(program_id)


def test_visibility_can_be_set() -> None:
    program_id = upload_program(SOURCE, name="visible")
    assert tasks.get_program.fn(program_id).is_public is False
    tasks.set_program_visibility.fn(program_id, True)
    assert tasks.get_program.fn(program_id).is_public is True


def test_programs_are_listed_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    program_id = upload_program(SOURCE, name="listed", description="To be seen.")
    assert program_id in [program.id for program in tasks.list_programs.fn()]
    tasks.print_programs.fn(limit=None)
    printed = capsys.readouterr().out
    assert program_id in printed
    assert "To be seen." in printed


@pytest.mark.parametrize(
    ("source", "complaint"),
    [("x = 1\n", "main"), ("def main(:\n    pass\n", "line 1")],
)
def test_a_source_that_cannot_run_is_refused(source: str, complaint: str) -> None:
    with pytest.raises(InvalidInputError, match=complaint):
        upload_program(source, name="refused")


@pytest.mark.parametrize("where", ["source", "description"])
def test_text_that_is_no_unicode_is_refused_in_words(where: str) -> None:
    half = "# \ud800\n"
    arguments = {"source": half + SOURCE} if where == "source" else {"description": half}
    with pytest.raises(InvalidInputError, match="Unicode"):
        upload_program(**{"source": SOURCE, "name": "half", **arguments})


def test_a_missing_file_is_named_with_the_folder_it_was_looked_for_in() -> None:
    with pytest.raises(ConfigurationError, match=r"no file .*nowhere\.py"):
        upload_program("programs/nowhere.py")


def test_the_block_uploads_its_source_and_runs_with_its_inputs(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(SOURCE)
    block = RuntimeProgram(source=str(tmp_path / "words.py"), inputs={"word": "block"})
    assert block.trigger().result() == "block"
    assert block.trigger(word="call").result() == "call"


def test_the_block_wants_one_program() -> None:
    with pytest.raises(ValueError, match="either program_id or source"):
        RuntimeProgram()
