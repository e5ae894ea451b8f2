"""The health of backends: the measurements are right, and a degraded one is reported."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect import flow, get_client
from prefect.artifacts import create_table_artifact
from prefect.flows import Flow
from prefect.variables import Variable

from prefect_qiskit_runtime import NotFoundError, RuntimeBackend, least_busy_backend
from prefect_qiskit_runtime.models import BackendStatus
from prefect_qiskit_runtime.program import ProgramBackend
from tests.flows.examples import example_flow
from tests.flows.shown import artifact
from tests.waiting import wait_until

KEY = "backend-health-embedded"
EARLIER = {"backend": "fake_manila", "ghz_fidelity": 0.999, "operational": True}


@pytest.fixture(scope="module")
def health() -> Flow[..., Any]:
    return example_flow("backend_health")


@pytest.fixture(scope="module")
def names(health: Flow[..., Any]) -> dict[str, Any]:
    return health.fn.__globals__


@pytest.fixture(scope="module")
def rows(health: Flow[..., Any], prefect_server: None, service_home: Path) -> dict[str, Any]:
    """Of two backends, one of which has done much better before."""

    @flow
    def earlier() -> None:
        create_table_artifact([EARLIER], key=KEY)

    earlier()
    found = asyncio.run(health(only=["fake_manila", "aer_simulator"], seed=1))
    return {row["backend"]: row for row in found}


def test_an_ideal_backend_has_fidelities_of_one_and_no_calibration(rows: dict[str, Any]) -> None:
    ideal = rows["aer_simulator"]
    assert (ideal["ghz_fidelity"], ideal["readout_fidelity"]) == (1, 1)
    assert (ideal["verdict"], ideal["queue_length"]) == ("healthy", 0)
    assert ideal["t1_median_us"] is ideal["two_qubit_error_median"] is None


def test_a_noisy_backend_is_measured_and_its_calibration_read(rows: dict[str, Any]) -> None:
    noisy = rows["fake_manila"]
    properties = ProgramBackend.from_name("fake_manila").target.qubit_properties
    assert noisy["t1_median_us"] == pytest.approx(1e6 * np.median([one.t1 for one in properties]))
    assert 0.7 < noisy["ghz_fidelity"] < noisy["readout_fidelity"] < 1
    assert 0.005 < noisy["two_qubit_error_median"] < 0.05
    assert noisy["one_qubit_error_median"] < noisy["two_qubit_error_median"]


def test_a_backend_that_fell_behind_its_history_is_reported(rows: dict[str, Any]) -> None:
    assert rows["fake_manila"]["verdict"] == "degraded"
    query = {"filter": {"event": {"prefix": ["qiskit-runtime.backend."]}}}

    def reported() -> list[Any]:
        with get_client(sync_client=True) as client:
            return client._client.post("/events/filter", json=query).json()["events"]

    (event,) = wait_until(reported, "the event")
    assert event["event"] == "qiskit-runtime.backend.degraded"
    assert event["resource"]["prefect.resource.name"] == "fake_manila"
    assert event["payload"]["ghz_fidelity"] == rows["fake_manila"]["ghz_fidelity"]


def test_the_table_the_trend_and_the_verdicts_are_kept(rows: dict[str, Any]) -> None:
    table = json.loads(artifact(KEY).data)
    assert [row["backend"] for row in table] == ["fake_manila", "aer_simulator"]
    assert "](data:image/png;base64,iVBOR" in artifact(f"{KEY}-trend").data
    verdicts: Any = Variable.get("qiskit_runtime_backend_health")
    kept = {name: verdicts[name] for name in rows}
    assert kept == {"fake_manila": "degraded", "aer_simulator": "healthy"}


def test_a_block_that_asks_for_healthy_backends_gets_none_that_is_degraded(
    rows: dict[str, Any],
) -> None:
    def manila(one: BackendStatus) -> bool:
        return one.name == "fake_manila"

    any_of_it = RuntimeBackend(name="least_busy")
    assert least_busy_backend.fn(backend=any_of_it, filters=manila).name == "fake_manila"
    healthy = RuntimeBackend(name="least_busy", only_healthy=True)
    with pytest.raises(NotFoundError, match="fits \\(only_healthy=True\\)"):
        least_busy_backend.fn(backend=healthy, filters=manila)


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        ({"ghz_fidelity": 0.86}, "healthy"),
        ({"ghz_fidelity": 0.84}, "degraded"),
        ({"ghz_fidelity": 0.84, "ghz_standard_error": 0.03}, "healthy"),
        ({"ghz_fidelity": None}, "unknown"),
        ({"operational": False}, "offline"),
        ({"backend": "fake_lima", "ghz_fidelity": 0.1}, "healthy"),
    ],
)
def test_the_verdict_is_by_the_median_of_a_backends_own_history(
    names: dict[str, Any], now: dict[str, Any], verdict: str
) -> None:
    before = [[{**EARLIER, "ghz_fidelity": value}] for value in (0.9, 0.99, 0.2)]
    row = {**EARLIER, "ghz_standard_error": 0.001, **now}
    assert names["judge"](row, before, 0.05) == verdict


def test_a_state_without_coherence_has_half_the_fidelity(names: dict[str, Any]) -> None:
    shots = 1000
    zeros = np.zeros((shots, 3), dtype=bool)
    mixed = zeros.copy()
    mixed[::2] = True
    # The parity of a mixture of zeros and ones is as often even as odd, in every basis.
    random = zeros.copy()
    random[::2, 0] = True
    measured = names["fidelities"]([zeros, ~zeros, mixed, random, random, random])
    assert measured["ghz_fidelity"] == pytest.approx(0.5)
    assert measured["readout_fidelity"] == 1
