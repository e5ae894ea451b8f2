"""The records of jobs a month later: exported, compared, in a frame, and deleted."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import time
from pathlib import Path

import pytest
from prefect import flow
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from prefect.utilities.asyncutils import run_coro_as_sync
from typer.testing import CliRunner

from prefect_qiskit_runtime import (
    ConfigurationError,
    RuntimeBackend,
    RuntimeServiceCredentials,
    fetch_job_history,
    submit_program,
)
from prefect_qiskit_runtime.cli import app
from prefect_qiskit_runtime.programs import upload_program
from prefect_qiskit_runtime.records.records import forget_records
from prefect_qiskit_runtime.testing import OfflineService

pytestmark = pytest.mark.usefixtures("prefect_server", "service_home")

BACKEND = "aer_simulator"
PROGRAM = """
def main(backend, user_messenger, *, seed, shots):
    return {"energy": seed / 2, "shots": shots}
"""


def cli(*arguments: str) -> str:
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


@pytest.fixture(scope="module")
def program(service_home: object) -> str:
    return upload_program.fn(PROGRAM, name="history-of-energies")


@pytest.fixture(scope="module")
def jobs(program: str, prefect_server: None) -> list[str]:
    """Two jobs of one program that a flow has waited for."""

    @flow
    def scan() -> list[str]:
        inputs = [{"seed": 1, "shots": 10}, {"seed": 2, "shots": 10}]
        found = [submit_program(program, one, backend=BACKEND) for one in inputs]
        for job in found:
            job.result()
        return [job.job_id for job in found]

    return scan()


def test_jobs_are_exported_as_json_lines(program: str, jobs: list[str]) -> None:
    lines = [json.loads(line) for line in cli("jobs", "export", "--program", program).splitlines()]
    assert [line["job_id"] for line in lines] == jobs
    assert [line["seeds"] for line in lines] == [{"seed": 1}, {"seed": 2}]
    assert lines[0]["format_version"] == 1


def test_jobs_are_exported_as_csv(program: str, jobs: list[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(cli("jobs", "export", "--csv", "--program", program))))
    assert [row["job_id"] for row in rows] == jobs
    assert [row["seeds.seed"] for row in rows] == ["1", "2"]
    assert {row["shots"] for row in rows} == {"10"}


def test_two_jobs_are_compared(jobs: list[str]) -> None:
    found = json.loads(cli("jobs", "compare", *jobs, "--json"))
    changes = {(one["part"], one["name"]): (one["a"], one["b"], one["change"]) for one in found}
    assert changes["settings", "seeds.seed"] == (1, 2, 1)
    assert changes["results", "energy"] == (0.5, 1.0, 0.5)
    assert changes["results", "shots"] == (10, 10, 0)
    assert ("spend", "quantum_seconds") in changes
    assert ("settings", "shots") not in changes


def test_a_comparison_is_a_table_for_people(jobs: list[str]) -> None:
    assert "results\tenergy\t0.5\t1\t0.5" in cli("jobs", "compare", *jobs)


@pytest.fixture
def elsewhere(offline: OfflineService) -> tuple[str, list[str]]:
    """The name of a saved block for another service, and the ids of two jobs there."""
    name = "history-elsewhere"

    async def save() -> RuntimeBackend:
        await offline.credentials().asave(name)
        credentials = await RuntimeServiceCredentials.aload(name)
        block = RuntimeBackend(name=BACKEND, service="team", credentials=credentials)
        await block.asave(name)
        return block

    block = run_coro_as_sync(save())
    there = upload_program.fn(PROGRAM, name="elsewhere", backend=block)
    jobs = []
    for seed in (1, 2):
        job = submit_program.fn(there, {"seed": seed, "shots": 10}, backend=block)
        job.wait_for_final_state()
        jobs.append(job.job_id)
    return name, jobs


def test_jobs_of_another_service_are_asked_for_by_its_block(
    elsewhere: tuple[str, list[str]],
) -> None:
    name, jobs = elsewhere
    lines = [json.loads(line) for line in cli("jobs", "export", "--block", name).splitlines()]
    assert [line["job_id"] for line in lines] == jobs
    assert "results\tenergy\t0.5\t1\t0.5" in cli("jobs", "compare", *jobs, "--block", name)


def test_a_block_that_is_not_there_is_named() -> None:
    ran = CliRunner().invoke(app, ("jobs", "export", "--block", "not-there"))
    assert ran.exit_code == 1
    assert "Cannot load the RuntimeBackend block 'not-there'" in ran.output


def test_the_history_of_a_program_is_a_frame(program: str, jobs: list[str]) -> None:
    history = fetch_job_history.fn(backend=BACKEND, program_id=program)
    assert list(history.index) == jobs
    assert list(history["seeds.seed"]) == [1, 2]


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigurationError, match=r"prefect-qiskit-runtime\[history\]"):
        fetch_job_history.fn(backend=BACKEND)


def test_old_records_are_forgotten_and_results_of_private_jobs_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "qiskit-runtime"
    (folder / "cache").mkdir(parents=True)
    names = ("provenance-old", "cache/old", "result-old", "provenance-new")
    for name in names:
        (folder / name).write_text("{}")
        if name.endswith("old"):
            long_ago = time.time() - 91 * 86_400
            os.utime(folder / name, (long_ago, long_ago))
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path}):
        assert forget_records(older_than_days=90, dry_run=True).records == 2
        assert forget_records(older_than_days=90).records == 2
    left = {path.name for path in folder.rglob("*") if path.is_file()}
    assert left == {"result-old", "provenance-new"}
