"""Sessions of a service that knows no keys, where a flow run comes back to what it had open."""

from __future__ import annotations

from prefect import flow

from prefect_qiskit_runtime import (
    IBMQuantumCredentials,
    RuntimeBackend,
    RuntimeSession,
    SessionState,
    runtime_session,
)
from prefect_qiskit_runtime.testing import offline_service


def test_a_flow_run_that_is_run_again_closes_what_it_had_left_open(prefect_server: None) -> None:
    opened: list[RuntimeSession] = []

    with offline_service(imitate="ibm") as cloud:
        credentials = IBMQuantumCredentials(api_key=cloud.token, url=f"{cloud.url}/api/v1")
        backend = RuntimeBackend(name="aer_simulator", service="ibm", credentials=credentials)

        @flow(retries=1)
        def interrupted() -> None:
            entered = runtime_session(backend)
            opened.append(entered.__enter__())
            if len(opened) == 1:
                raise ConnectionError("as good as a kill: the block is never left")
            entered.__exit__(None, None, None)

        interrupted()
        assert [session.status() for session in opened] == [SessionState.CLOSED] * 2
        assert opened[0].session_id != opened[1].session_id
