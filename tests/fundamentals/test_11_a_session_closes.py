"""Keep a place in the queue, and give it back."""

from __future__ import annotations

import pytest
from prefect import flow

from prefect_qiskit_runtime import (
    RuntimeSession,
    SessionState,
    list_jobs,
    run_program,
    runtime_session,
    upload_program,
)


def test_a_session_closes_at_the_end_of_its_block() -> None:
    @flow
    def two_jobs() -> RuntimeSession:
        program_id = upload_program("programs/random_number.py")
        with runtime_session("aer_simulator") as session:
            for _ in range(2):
                run_program(program_id, backend="aer_simulator", session=session)
        return session

    session = two_jobs()
    assert session.status() is SessionState.CLOSED
    assert len(list_jobs(backend="aer_simulator", session=session)) == 2


def test_a_session_closes_when_its_flow_fails() -> None:
    opened: list[RuntimeSession] = []

    @flow
    def failing() -> None:
        with runtime_session("aer_simulator") as session:
            opened.append(session)
            raise ValueError("a mistake in the flow")

    with pytest.raises(ValueError, match="a mistake in the flow"):
        failing()
    assert opened[0].status() is SessionState.CLOSED
