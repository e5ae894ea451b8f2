"""Sessions that a service closes by itself, while the flow goes on."""

from __future__ import annotations

import pytest

from prefect_qiskit_runtime import (
    ConfigurationError,
    JobSessionClosedError,
    SessionState,
    SyncRuntimeClient,
    run_program,
    runtime_session,
    upload_program,
)
from prefect_qiskit_runtime.testing import OfflineService

COUNTING = """
def main(backend, user_messenger, upto):
    for number in range(upto):
        user_messenger.publish(number)
    return upto
"""


@pytest.mark.parametrize("when_noticed", ["at the next submission", "while a job waits"])
def test_a_session_that_the_service_closes_is_opened_again(
    offline: OfflineService, when_noticed: str
) -> None:
    backend = offline.backend(retry_delay_seconds=0)
    program = upload_program.fn(COUNTING, name="counting", backend=backend)
    with runtime_session(backend, max_time=600) as session:
        first = session.session_id
        assert run_program.fn(program, {"upto": 1}, backend=backend, session=session) == 1
        if when_noticed == "while a job waits":
            offline.add("close_session")
        else:
            offline.advance(601)
        assert run_program.fn(program, {"upto": 2}, backend=backend, session=session) == 2
        assert (session.earlier_ids, session.session_id != first) == ([first], True)
        second = session.session_id
        assert run_program.fn(program, {"upto": 3}, backend=backend, session=session) == 3
        assert session.session_id == second
    with SyncRuntimeClient(offline.url, offline.token) as client:
        assert {client.session(one).status() for one in (first, second)} == {SessionState.CLOSED}
        seconds = [client.session(one).usage() for one in (first, second)]
    assert session.usage_seconds() == pytest.approx(sum(one or 0.0 for one in seconds))


def test_a_session_that_keeps_closing_ends_the_call(offline: OfflineService) -> None:
    backend = offline.backend(retry_delay_seconds=0, attempts=2)
    program = upload_program.fn(COUNTING, name="counting", backend=backend)
    offline.add("close_session", when={"times": None})
    with pytest.raises(JobSessionClosedError) as caught, runtime_session(backend) as session:
        run_program.fn(program, {"upto": 1}, backend=backend, session=session)
    assert len(session.earlier_ids) == 2
    assert caught.value.session_id not in (None, *session.earlier_ids)
    assert caught.value.backend == backend.name


def test_a_plan_without_sessions_is_reported_in_one_sentence(offline: OfflineService) -> None:
    offline.add(
        "refuse",
        when={"method": "POST", "path": "/sessions"},
        status=400,
        code=1352,
        message="You are not authorized to run a session when using the open plan.",
    )
    with (
        pytest.raises(
            ConfigurationError, match=r"the plan .* does not include sessions\. Use runtime_batch"
        ),
        runtime_session(offline.backend()),
    ):
        pass
