"""Calibrations of a backend by their ids: which one circuits are made for and run with."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError
from qiskit import QuantumCircuit

from prefect_qiskit_runtime import (
    NotFoundError,
    RuntimeBackend,
    attach_job,
    least_busy_backend,
    primitives,
)
from prefect_qiskit_runtime.testing import OfflineService
from tests.circuits import bell

AtIbm = Callable[..., RuntimeBackend]
submit_sampler = primitives.submit_sampler.fn
run_sampler = primitives.run_sampler.fn

DEVICE = "fake_manila"
BAD_FIRST = {"id": "bad-first", "qubits": [0, 1, 2], "error_factor": 30}
BAD_LAST = {"id": "bad-last", "qubits": [2, 3, 4], "error_factor": 30}


@pytest.fixture
def calibrated(cloud: OfflineService) -> OfflineService:
    """A device that has two calibrations beside its newest: each with other qubits that are bad."""
    for one in (BAD_FIRST, BAD_LAST):
        cloud.add("calibration", backend=DEVICE, **one)
    return cloud


@pytest.mark.usefixtures("calibrated")
@pytest.mark.parametrize(("calibration_id", "good"), [("bad-first", {3, 4}), ("bad-last", {0, 1})])
def test_qubits_are_chosen_by_the_errors_of_the_calibration_that_is_named(
    at_ibm: AtIbm, calibration_id: str, good: set[int]
) -> None:
    block = at_ibm(DEVICE, transpile=True, optimization_level=3, calibration_id=calibration_id)
    dry_run: Any = run_sampler([bell(measured=True)], backend=block, dry_run=True)
    transpilation = dry_run.preparation["transpilation"]
    assert set(transpilation["layouts"][0]) == good
    assert transpilation["calibration"]["calibration_id"] == calibration_id


@pytest.mark.usefixtures("calibrated")
def test_a_layout_that_does_not_look_at_errors_is_the_same_for_each(at_ibm: AtIbm) -> None:
    layouts = [
        run_sampler(
            [bell(measured=True)],
            backend=at_ibm(
                DEVICE, transpile=True, calibration_aware=False, calibration_id=calibration_id
            ),
            dry_run=True,
        ).preparation["transpilation"]["layouts"]  # type: ignore[attr-defined]
        for calibration_id in ("bad-first", "bad-last")
    ]
    assert layouts[0] == layouts[1]


def test_the_job_names_it_and_the_provenance_says_so(
    calibrated: OfflineService, at_ibm: AtIbm
) -> None:
    block = at_ibm(DEVICE, transpile=True, calibration_id="bad-last")
    job = submit_sampler([bell(measured=True)], backend=block, shots=10)
    assert job.result()[0].data.meas.num_shots == 10
    (sent,) = calibrated.requests("POST", "/jobs")
    assert sent["status"] == 200
    of_newest = submit_sampler(
        [bell(measured=True)], backend=at_ibm(DEVICE, transpile=True), shots=10
    )
    of_newest.wait_for_final_state()
    named, newest = job.provenance().calibration, of_newest.provenance().calibration
    assert named is not None and newest is not None
    assert (named.calibration_id, newest.calibration_id) == ("bad-last", None)
    assert named.updated_at is not None and newest.updated_at is not None
    assert (newest.updated_at - named.updated_at).days == 1
    attached = attach_job.fn(job.job_id, backend=block).provenance().calibration
    assert attached == named


@pytest.mark.usefixtures("calibrated")
def test_another_calibration_is_another_request(at_ibm: AtIbm) -> None:
    isa = QuantumCircuit(1)
    isa.sx(0)
    isa.measure_all()
    ids = [
        submit_sampler(
            [isa],
            backend=at_ibm(DEVICE, calibration_id=calibration_id),
            shots=5,
            durable_key="same",
        ).job_id
        for calibration_id in ("bad-first", "bad-last", None, "bad-first")
    ]
    assert len(set(ids)) == 3
    assert ids[0] == ids[3]


@pytest.mark.usefixtures("calibrated")
def test_an_id_that_the_backend_does_not_have_is_refused_before_a_job_is_made(
    cloud: OfflineService, at_ibm: AtIbm
) -> None:
    for transpile in (True, False):
        block = at_ibm(DEVICE, transpile=transpile, calibration_id="gone")
        with pytest.raises(NotFoundError) as caught:
            run_sampler([bell(measured=True)], backend=block)
        said = str(caught.value)
        assert f"backend {DEVICE} with calibration 'gone'" in said
        assert "calibration_id of the RuntimeBackend" in said
        assert (caught.value.kind, caught.value.identifier) == ("calibration", "gone")
    assert cloud.requests("POST", "/jobs") == []


@pytest.mark.usefixtures("calibrated")
def test_a_calibration_is_of_one_backend(at_ibm: AtIbm) -> None:
    block = at_ibm("fake_lima", transpile=True, calibration_id="bad-first")
    with pytest.raises(NotFoundError, match="fake_lima with calibration 'bad-first'"):
        run_sampler([bell(measured=True)], backend=block)
    with pytest.raises(ValidationError, match="calibration_id belongs to one backend, but"):
        at_ibm(DEVICE, calibration_id="bad-first", fallbacks=["fake_lima"])


def test_thresholds_go_by_the_newest_calibration(cloud: OfflineService, at_ibm: AtIbm) -> None:
    cloud.add("calibration", backend="fake_lima", id="now", error_factor=50, newest=True)
    block = at_ibm("least_busy", max_readout_error=0.2)

    def chosen(name: str) -> str:
        return least_busy_backend.fn(backend=block, filters=lambda one: one.name == name).name

    assert chosen("fake_quito") == "fake_quito"
    with pytest.raises(NotFoundError, match=r"max_readout_error=0\.2"):
        chosen("fake_lima")


@pytest.mark.usefixtures("calibrated")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ibms_own_client_gets_the_same_calibration(ibms_client: Any) -> None:
    errors = {}
    for calibration_id in ("bad-first", "bad-last", None):
        backend = ibms_client.backend(DEVICE, calibration_id=calibration_id)
        assert backend.calibration_id == calibration_id
        errors[calibration_id] = [backend.properties().readout_error(q) for q in range(5)]
    assert errors["bad-first"][4] == errors[None][4] < errors["bad-last"][4]
    assert errors["bad-last"][0] == errors[None][0] < errors["bad-first"][0]


@pytest.mark.usefixtures("calibrated")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ibms_own_client_learns_that_there_is_none(ibms_client: Any) -> None:
    from qiskit.providers.exceptions import QiskitBackendNotFoundError

    with pytest.raises(QiskitBackendNotFoundError):
        ibms_client.backend(DEVICE, calibration_id="gone")


def test_a_job_cannot_name_one_that_is_not_there(caller: Any) -> None:
    answer = caller.submit(calibration_id="gone")
    assert answer.status_code == 404
    assert "has no calibration 'gone'" in json.loads(answer.text)["error"]["message"]
