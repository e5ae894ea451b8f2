"""The public names, what importing them loads, and what their errors survive."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import prefect_qiskit_runtime
from prefect_qiskit_runtime import errors


@pytest.mark.parametrize("name", prefect_qiskit_runtime.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(prefect_qiskit_runtime, name).__class__ is not None
    assert name in dir(prefect_qiskit_runtime)


def test_each_public_name_is_listed_once() -> None:
    assert len(set(prefect_qiskit_runtime.__all__)) == len(prefect_qiskit_runtime.__all__)


def test_a_star_import_gives_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from prefect_qiskit_runtime import *", names)
    assert set(prefect_qiskit_runtime.__all__) <= set(names)


def test_each_sync_call_has_its_async_twin() -> None:
    names = set(prefect_qiskit_runtime.__all__)
    calls = {name for name in names if name.islower()} - {"cancel_on_exit"}  # sends no requests
    sync_calls = {name for name in calls if f"a{name}" in names}
    assert calls == sync_calls | {f"a{name}" for name in sync_calls}


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'run_progam'"):
        _ = prefect_qiskit_runtime.run_progam


@pytest.mark.parametrize(
    "code",
    [
        "import prefect_qiskit_runtime",
        "from prefect_qiskit_runtime import RuntimeBackend, run_program, upload_program",
    ],
)
def test_importing_loads_neither_qiskit_nor_a_server(code: str) -> None:
    heavy = "{'qiskit', 'qiskit_aer', 'qiskit_ibm_runtime', 'matplotlib', 'scipy'}"
    if code == "import prefect_qiskit_runtime":
        heavy = f"{heavy} | {{'fastapi', 'prefect', 'sqlalchemy', 'pydantic', 'httpx'}}"
    script = f"{code}\nimport sys\nprint(sorted(({heavy}) & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert loaded.stdout.strip() == "[]"


def test_the_entry_point_of_the_collection_loads_the_blocks_and_little_else() -> None:
    script = """
import sys
from importlib.metadata import entry_points
(entry,) = entry_points(group="prefect.collections", name="prefect_qiskit_runtime")
entry.load()
from prefect.blocks.core import Block
from prefect.utilities.dispatch import get_registry_for_type
print(*sorted(name for name in get_registry_for_type(Block) if "qiskit" in name or "ibm" in name))
print(sum(name.startswith("prefect_qiskit_runtime") for name in sys.modules))
"""
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    blocks, num_modules = loaded.stdout.splitlines()
    assert blocks.split() == [
        "ibm-quantum-credentials",
        "qiskit-runtime-backend",
        "qiskit-runtime-program",
        "qiskit-runtime-service-credentials",
    ]
    assert int(num_modules) <= 25


ERRORS = [
    error
    for name in errors.__all__
    if isinstance(error := getattr(errors, name), type) and issubclass(error, Exception)
]


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_every_error_survives_pickling(cls: type[errors.QiskitRuntimeError]) -> None:
    attributes = {"job_id": "j1", "traceback": "…"} if issubclass(cls, errors.JobError) else {}
    error = cls("what was tried", **attributes)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert str(copy) == "what was tried"
    assert copy.__dict__ == error.__dict__


def test_only_errors_that_may_pass_are_retryable() -> None:
    assert errors.is_retryable(errors.RateLimitedError("", retry_after_seconds=2))
    assert errors.is_retryable(errors.JobInterruptedError("", job_id="j1"))
    assert not errors.is_retryable(errors.AuthenticationError(""))
    assert not errors.is_retryable(ValueError())
