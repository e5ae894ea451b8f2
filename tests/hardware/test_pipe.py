"""The pipe between a program and its broker carries errors with their attributes."""

from __future__ import annotations

import asyncio
import socket

import pytest

from prefect_qiskit_runtime.broker._pipe import ProgramPipe
from prefect_qiskit_runtime.client import job_error
from prefect_qiskit_runtime.errors import (
    HardwareBudgetError,
    InvalidInputError,
    NotFoundError,
    QiskitRuntimeError,
    SessionClosedError,
    to_fields,
)
from prefect_qiskit_runtime.models import JobInfo
from prefect_qiskit_runtime.program._hardware_pipe import HardwarePipe


class OfOneModuleError(InvalidInputError):
    """An error that the program's process may not have."""


def failed() -> QiskitRuntimeError:
    state = {"status": "Failed", "reason": "no calibration", "reason_code": 1517}
    job = {"id": "j1", "backend": "fake_manila", "session_id": "s1", "cost": 9, "state": state}
    error = job_error(JobInfo.model_validate(job), b"Traceback: of IBM", None)
    error.code = 1517
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            HardwareBudgetError(
                "used up",
                scope="day",
                limit_seconds=5.0,
                used_seconds=10.5,
                backend="fake_manila",
            ),
            HardwareBudgetError,
        ),
        (HardwareBudgetError("raised by hand"), HardwareBudgetError),
        (SessionClosedError("closed", session_id="s1"), SessionClosedError),
        (NotFoundError("deleted", kind="deleted_job", identifier="j1"), NotFoundError),
        (OfOneModuleError("bad", path="$.pubs[0]", rule="dt"), InvalidInputError),
        (failed(), type(failed())),
    ],
)
async def test_a_program_gets_the_error_of_its_broker_with_all_attributes(
    error: QiskitRuntimeError, kind: type[QiskitRuntimeError]
) -> None:
    ours, theirs = socket.socketpair()
    pipe = await ProgramPipe.connect(ours.detach())
    answer = HardwarePipe(theirs.detach()).ask("device")
    request = await pipe.read()
    assert request is not None
    await pipe.refuse(request[0]["id"], to_fields(error))
    received = await asyncio.to_thread(answer.exception, timeout=10)
    assert type(received) is kind
    assert str(received) == str(error)
    assert vars(received) == vars(error)
    pipe._writer.close()
