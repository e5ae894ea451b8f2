"""Sessions of a service that knows no keys, where a flow run comes back to what it had open."""

from __future__ import annotations

from collections.abc import Callable

from prefect import flow

from prefect_qiskit_runtime import RuntimeBackend, RuntimeSession, SessionState, runtime_session


def test_a_flow_run_that_is_run_again_closes_what_it_had_left_open(
    prefect_server: None, at_ibm: Callable[..., RuntimeBackend]
) -> None:
    opened: list[RuntimeSession] = []

    @flow(retries=1)
    def interrupted() -> None:
        entered = runtime_session(at_ibm())
        opened.append(entered.__enter__())
        if len(opened) == 1:
            raise ConnectionError("as good as a kill: the block is never left")
        entered.__exit__(None, None, None)

    interrupted()
    assert [session.status() for session in opened] == [SessionState.CLOSED] * 2
    assert opened[0].session_id != opened[1].session_id
