"""Kill an optimization, and go on where it was."""

from __future__ import annotations

import pytest

from prefect_qiskit_runtime import list_jobs
from prefect_qiskit_runtime.testing import offline_service
from tests.fundamentals.conftest import Start


def test_a_loop_goes_on_after_a_kill_and_submits_no_step_twice(start_flow: Start) -> None:
    with offline_service() as service:
        service.add("hold_job", when={"skip": 3})  # the fourth job stays in the queue
        killed = start_flow("ground_state.py", service.url, service.token)
        killed.read("STEP 2")
        killed.kill()

        service.clear()
        again = start_flow("ground_state.py", service.url, service.token)
        steps = int(again.read("STEPS"))
        assert again.read("REPLAYED") == "3"
        assert float(again.read("ENERGY")) == pytest.approx(-(2**0.5), abs=1e-3)
        assert len(list_jobs(backend=service.backend(), limit=None)) == steps
