"""A script that waits for a job in a session, until it is interrupted."""

from __future__ import annotations

import sys

from prefect_qiskit_runtime import run_program, runtime_session

if __name__ == "__main__":
    inputs = {"upto": 1, "wait_for": "/never/there"}
    with runtime_session("aer_simulator") as session:
        run_program.fn(
            sys.argv[1],
            inputs,
            backend="aer_simulator",
            session=session,
            callback=lambda *_: print(session.session_id, flush=True),
        )
