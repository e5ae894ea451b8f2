"""The result of a private job is read once, and kept by its reader."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import pytest
from prefect import flow

from prefect_qiskit_runtime import (
    DecodingError,
    NotFoundError,
    RuntimeBackend,
    RuntimeServiceCredentials,
    attach_job,
    run_program,
    submit_program,
    upload_program,
)
from prefect_qiskit_runtime.records.records import Records
from tests.proxy import Fault, Proxy
from tests.team import TOKENS

PROGRAM = "def main(backend, user_messenger, answer=1):\n    return answer\n"
READ, ACKNOWLEDGED = r"GET /jobs/\w+/results", r"DELETE /jobs/\w+/results"


@pytest.fixture
def backend(prefect_server: None, proxy: Proxy) -> RuntimeBackend:
    credentials = RuntimeServiceCredentials(url=proxy.url, token=TOKENS["alice"])
    return RuntimeBackend(service="team", credentials=credentials, private=True)


@pytest.fixture
def program(backend: RuntimeBackend, proxy: Proxy) -> str:
    program_id = upload_program.fn(PROGRAM, name="answering", backend=backend)
    proxy.seen.clear()
    return program_id


def in_flow(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test inside a flow run, whose storage has the records."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        flow(lambda: test(**fixtures), name=test.__name__)()

    return run


def asked(proxy: Proxy) -> list[str]:
    """Methods of the requests for results."""
    return [request.split(" ")[0] for request in proxy.seen if request.endswith("/results")]


@in_flow
def test_it_is_acknowledged_once_it_is_kept(
    proxy: Proxy, backend: RuntimeBackend, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, before = Records.write, []

    async def noting(self: Records, name: str, record: dict[str, Any]) -> None:
        if name.startswith("result-"):
            before.extend(asked(proxy))
        await write(self, name, record)

    monkeypatch.setattr(Records, "write", noting)
    assert run_program.fn(program, {"answer": 7}, backend=backend) == 7
    assert before == ["GET"]
    assert asked(proxy) == ["GET", "DELETE"]


@in_flow
def test_it_can_be_read_again_here(proxy: Proxy, backend: RuntimeBackend, program: str) -> None:
    job = submit_program.fn(program, {"answer": 7}, backend=backend)
    assert [job.result(), job.result()] == [7, 7]
    assert attach_job.fn(job.job_id, backend=backend).result() == 7
    assert asked(proxy) == ["GET", "DELETE"]


@in_flow
def test_a_decoder_that_fails_does_not_cost_it(
    proxy: Proxy, backend: RuntimeBackend, program: str
) -> None:
    class Failing:
        @classmethod
        def decode(cls, text: str) -> Any:
            raise ValueError("not this way")

    job = submit_program.fn(program, {"answer": 7}, backend=backend)
    with pytest.raises(DecodingError):
        job.result(Failing)
    assert job.result() == 7


@in_flow
def test_without_its_record_it_is_gone_and_not_computed_again(
    proxy: Proxy,
    backend: RuntimeBackend,
    program: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {"durable_key": "elsewhere"}
    assert run_program.fn(program, backend=backend, **options) == 1

    async def nothing(self: Records, name: str) -> None:
        return None

    monkeypatch.setattr(Records, "read", nothing)
    with pytest.raises(NotFoundError, match="is not sent again") as caught:
        run_program.fn(program, backend=backend, **options)
    assert caught.value.kind == "result"
    assert len({job.split("/")[2] for job in proxy.seen if job.endswith("/results")}) == 1


@in_flow
def test_a_storage_that_fails_leaves_it_with_the_service(
    proxy: Proxy,
    backend: RuntimeBackend,
    program: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def full(self: Records, name: str, record: dict[str, Any]) -> None:
        raise OSError("No space left on device")

    job = submit_program.fn(program, {"answer": 7}, backend=backend)
    with monkeypatch.context() as patch:
        patch.setattr(Records, "write", full)
        with pytest.raises(OSError, match="No space left"):
            job.result()
    assert job.result() == 7


@in_flow
def test_an_acknowledgement_that_fails_is_logged(
    proxy: Proxy, backend: RuntimeBackend, program: str, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.faults.append(Fault(ACKNOWLEDGED, "before", 403))
    with caplog.at_level(logging.WARNING):
        assert run_program.fn(program, {"answer": 7}, backend=backend) == 7
    assert "still keeps the result" in caplog.text


@in_flow
def test_an_answer_that_is_cut_is_read_again(
    proxy: Proxy, backend: RuntimeBackend, program: str
) -> None:
    proxy.faults.append(Fault(READ, "after", "cut"))
    assert run_program.fn(program, {"answer": 7}, backend=backend) == 7
    assert asked(proxy) == ["GET", "GET", "DELETE"]
