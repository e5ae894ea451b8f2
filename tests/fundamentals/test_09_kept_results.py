"""Take the result of an equal call in place of running a job."""

from __future__ import annotations

from prefect import flow

from prefect_qiskit_runtime import list_jobs, run_program, upload_program


def test_a_result_is_kept_until_it_is_refreshed() -> None:
    @flow
    def draw(cache: bool | str) -> float:
        program_id = upload_program("programs/random_number.py")
        options = {"tags": ["kept-results"]}
        return run_program(program_id, backend="aer_simulator", options=options, cache=cache)

    first = draw(cache=True)
    assert draw(cache=True) == first
    fresh = draw(cache="refresh")
    assert fresh != first
    assert draw(cache=True) == fresh
    assert len(list_jobs(backend="aer_simulator", tags=["kept-results"])) == 2
