"""Primitives on IBM Quantum, as a flow asks for them, through a real service that imitates it."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import numpy as np
import pytest
from prefect import flow
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit.primitives import PrimitiveResult

from prefect_qiskit_runtime import (
    AuthenticationError,
    ConfigurationError,
    IBMQuantumCredentials,
    InvalidInputError,
    NotFoundError,
    RuntimeBackend,
    ServiceUnavailableError,
    jobs,
    least_busy_backend,
    list_backends,
    primitives,
    programs,
)
from tests.circuits import bell
from tests.simulated_ibm import point_ibms_client_to
from tests.team import TOKENS, TeamService

run_sampler, submit_sampler = primitives.run_sampler.fn, primitives.submit_sampler.fn
run_estimator, submit_estimator = primitives.run_estimator.fn, primitives.submit_estimator.fn


@pytest.fixture
def backend(credentials: IBMQuantumCredentials) -> RuntimeBackend:
    return RuntimeBackend(name="aer_simulator", service="ibm", credentials=credentials)


def sent(ibm: TeamService, job_id: str) -> dict[str, Any]:
    """The inputs of a job, as they came over the wire."""
    with ibm.client() as client:
        return client.get(f"/jobs/{job_id}").json()["params"]


def test_the_sampler_gives_a_decoded_result(backend: RuntimeBackend) -> None:
    result = run_sampler([bell(measured=True)], backend=backend, shots=100)
    assert isinstance(result, PrimitiveResult)
    assert set(result[0].data.meas.get_counts()) <= {"00", "11"}
    assert result[0].data.meas.num_shots == 100


def test_the_estimator_takes_arrays(backend: RuntimeBackend) -> None:
    circuit = QuantumCircuit(1)
    circuit.ry(Parameter("angle"), 0)
    angles = np.linspace(0, np.pi, 4)
    (result,) = run_estimator([(circuit, [["Z"], ["X"]], angles)], backend=backend, precision=0.01)
    assert result.data.evs.shape == (2, 4)
    np.testing.assert_allclose(result.data.evs[0], np.cos(angles), atol=0.05)


def test_a_device_takes_circuits_in_its_instruction_set(
    ibm: TeamService, credentials: IBMQuantumCredentials
) -> None:
    from prefect_qiskit_runtime import SyncRuntimeClient

    backend = RuntimeBackend(name="fake_manila", service="ibm", credentials=credentials)
    with pytest.raises(InvalidInputError, match=r"pubs\[0\].*no 'h'.*transpile=True"):
        run_sampler([bell(measured=True)], backend=backend)
    with SyncRuntimeClient(
        f"{ibm.url}/api/v1", TOKENS["alice"], channel="ibm_quantum_platform"
    ) as client:
        target = client.backend("fake_manila").target
    isa = transpile(bell(measured=True), target=target, seed_transpiler=1)
    (result,) = run_sampler([isa], backend=backend)
    assert result.data.meas.num_shots == 4096


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # IBM's V2 primitives since 0.50
@pytest.mark.filterwarnings("ignore:No gate definition:RuntimeWarning")
def test_what_is_sent_is_what_ibms_own_client_sends(
    ibm: TeamService, backend: RuntimeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qiskit_ibm_runtime import EstimatorV2, QiskitRuntimeService

    options = {
        "default_precision": 0.1,
        "resilience_level": 2,
        "resilience": {"zne_mitigation": True},
        "twirling": {"enable_gates": True},
        "experimental": {"new": 1},
        "environment": {"job_tags": ["mine"]},
        "max_execution_time": 100,
    }
    pubs = [(bell(), "ZZ"), (bell(), ["XX", "ZI"], None, 0.2)]
    ours = submit_estimator(pubs, backend=backend, options=options)

    point_ibms_client_to(ibm.url, monkeypatch)
    service = QiskitRuntimeService(
        token=TOKENS["alice"], url=f"{ibm.url}/experimental/api/v1", instance="team"
    )
    theirs = EstimatorV2(service.backend("aer_simulator"), options=options).run(pubs)
    assert _shape(sent(ibm, ours.job_id)) == _shape(sent(ibm, theirs.job_id()))
    for job_id in (ours.job_id, theirs.job_id()):
        with ibm.client() as client:
            job = client.get(f"/jobs/{job_id}").json()
        # Ours has a tag more: the name under which a lost submission is found again.
        tags = [tag for tag in job["tags"] if not tag.startswith("pqr-")]
        assert (tags, job["cost"]) == (["mine"], 100)


def _shape(value: Any) -> Any:
    """A value without the bytes of circuits, which hold separate times and names."""
    if isinstance(value, dict):
        if value.get("__type__") == "QuantumCircuit":
            return "a circuit"
        return {name: _shape(inner) for name, inner in value.items()}
    return [_shape(inner) for inner in value] if isinstance(value, list) else value


def test_nothing_is_sent_for_what_was_not_asked(ibm: TeamService, backend: RuntimeBackend) -> None:
    job = submit_sampler([bell(measured=True)], backend=backend)
    params = sent(ibm, job.job_id)
    assert {name: value for name, value in params.items() if name != "pubs"} == {
        "options": {},
        "version": 2,
        "support_qiskit": True,
    }
    (pub,) = params["pubs"]
    assert pub[1:] in ([], [None], [None, None], [{"__type__": "ndarray"}, None]) or pub[2] is None
    assert job.result()[0].data.meas.num_shots == 4096


def test_what_ibm_does_not_do_is_refused_before_a_job_is_made(backend: RuntimeBackend) -> None:
    with pytest.raises(ConfigurationError, match=r"^seed cannot be used with IBM Quantum"):
        run_sampler([bell(measured=True)], backend=backend, seed=7)
    with pytest.raises(ConfigurationError, match=r"^seed cannot be used with IBM Quantum"):
        run_estimator([(bell(), "ZZ")], backend=backend, seed=7)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"default_shts": 5}, "no option 'default_shts'. Did you mean 'default_shots'"),
        ({"resilience_level": 9}, "resilience_level"),
        ({"resilience": {"zne": {"noise_factors": "x"}}}, "noise_factors"),
    ],
)
def test_options_are_checked_by_ibms_own_models(
    backend: RuntimeBackend, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says) as caught:
        run_estimator([(bell(), "ZZ")], backend=backend, options=options)
    assert "\n" not in str(caught.value)


def test_what_a_job_could_only_fail_with_makes_none(
    ibm: TeamService, backend: RuntimeBackend
) -> None:
    with ibm.client() as client:
        before = client.get("/jobs").json()["count"]
        for shots in (0, -1):
            with pytest.raises(InvalidInputError, match=f"1 or more, not {shots}"):
                run_sampler([bell(measured=True)], backend=backend, shots=shots)
        with pytest.raises(InvalidInputError, match="1 or more, not 0"):
            run_sampler([bell(measured=True)], backend=backend, options={"default_shots": 0})
        with pytest.raises(InvalidInputError, match="given no PUB"):
            run_sampler([], backend=backend)
        assert client.get("/jobs").json()["count"] == before


def test_a_backend_that_is_not_there_is_said_with_where_to_look(backend: RuntimeBackend) -> None:
    gone = backend.model_copy(update={"name": "ibm_nowhere"})
    with pytest.raises(NotFoundError, match=r"ibm_nowhere.*list_backends.*instance .crn:"):
        run_sampler([bell(measured=True)], backend=gone)


def test_a_network_that_was_never_there_is_not_waited_for() -> None:
    away = IBMQuantumCredentials(api_key="key", url="http://127.0.0.1:9/api/v1")
    block = RuntimeBackend(service="ibm", credentials=away, retry_deadline_seconds=600)
    started = time.monotonic()
    with pytest.raises(ServiceUnavailableError, match=r"127\.0\.0\.1:9.*reachable"):
        run_sampler([bell(measured=True)], backend=block)
    assert time.monotonic() - started < 90


def test_programs_and_interim_results_are_refused_with_where_to_go(backend: RuntimeBackend) -> None:
    source = "def main(backend, user_messenger):\n    return 1\n"
    with pytest.raises(ConfigurationError, match="custom programs from its cloud in 2024"):
        programs.upload_program.fn(source, name="p", backend=backend)
    with pytest.raises(ConfigurationError, match="service='team'"):
        jobs.run_program.fn("hello-world", backend=backend)
    with pytest.raises(ConfigurationError, match="interim results"):
        jobs.run_program.fn("sampler", {"pubs": []}, backend=backend, callback=print)
    job = submit_sampler([bell(measured=True)], backend=backend)
    with pytest.raises(ConfigurationError, match="interim results"):
        list(job.stream())
    job.wait_for_final_state()


def test_a_job_is_listed_attached_to_and_read(backend: RuntimeBackend) -> None:
    job = submit_sampler([bell(measured=True)], backend=backend, shots=10)
    attached = jobs.attach_job.fn(job.job_id, backend=backend)
    assert attached.result()[0].data.meas.num_shots == 10
    provenance = attached.provenance()
    assert (provenance.service, provenance.shots, provenance.status.value) == (
        "ibm",
        10,
        "Completed",
    )
    assert provenance.started_at is not None and provenance.quantum_seconds is not None
    assert job.job_id in {info.id for info in jobs.list_jobs.fn(backend=backend)}
    assert attached.logs() == "Completed\n"


def test_backends_are_listed_and_the_least_busy_is_chosen(backend: RuntimeBackend) -> None:
    names = {one.name for one in list_backends.fn(backend=backend)}
    assert {"aer_simulator", "fake_manila"} <= names
    chosen = least_busy_backend.fn(
        backend=backend, min_num_qubits=7, simulator=False, filters=lambda one: one.qubits < 16
    )
    assert (chosen.service, chosen.credentials) == ("ibm", backend.credentials)
    assert (
        7 <= next(b.qubits for b in list_backends.fn(backend=backend) if b.name == chosen.name) < 16
    )
    with pytest.raises(Exception, match="min_num_qubits=100000"):
        least_busy_backend.fn(backend=backend, min_num_qubits=100_000)


def test_a_wrong_key_fails_at_once(ibm: TeamService) -> None:
    wrong = IBMQuantumCredentials(api_key="wrong-key", url=f"{ibm.url}/api/v1")
    with pytest.raises(AuthenticationError, match="refused the API key") as caught:
        run_sampler([bell(measured=True)], backend=RuntimeBackend(service="ibm", credentials=wrong))
    assert "wrong-key" not in str(caught.value)


def test_the_account_may_be_in_variables(ibm: TeamService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKENS["bob"])
    monkeypatch.setenv("QISKIT_IBM_URL", f"{ibm.url}/api/v1")
    monkeypatch.setenv("QISKIT_IBM_INSTANCE", "team")
    backend = RuntimeBackend(service="ibm", credentials=IBMQuantumCredentials())
    (result,) = run_estimator([(bell(), "ZZ")], backend=backend)
    assert result.data.evs == pytest.approx(1)


def test_the_account_may_be_saved(ibm: TeamService, tmp_path: Any) -> None:
    from prefect_qiskit_runtime import RuntimeClient

    file = str(tmp_path / "accounts.json")
    RuntimeClient.save_account(TOKENS["bob"], f"{ibm.url}/api/v1", name="bob", filename=file)
    saved = IBMQuantumCredentials(account_name="bob", account_file=file)
    backend = RuntimeBackend(service="ibm", credentials=saved)
    (result,) = run_estimator([(bell(), "XX")], backend=backend)
    assert result.data.evs == pytest.approx(1)


@pytest.mark.usefixtures("prefect_server", "service_home")
def test_a_flow_moves_to_ibm_when_its_block_document_is_changed(
    credentials: IBMQuantumCredentials, caplog: pytest.LogCaptureFixture
) -> None:
    @flow
    def correlation() -> tuple[str, float]:
        backend = RuntimeBackend.load("where-it-runs")
        (result,) = primitives.run_estimator([(bell(), "ZZ")], backend=backend)
        return backend.service, float(result.data.evs)

    RuntimeBackend().save("where-it-runs", overwrite=True)
    assert correlation() == ("embedded", pytest.approx(1))
    RuntimeBackend(service="ibm", credentials=credentials).save("where-it-runs", overwrite=True)
    with caplog.at_level(logging.DEBUG):
        assert correlation() == ("ibm", pytest.approx(1))
    assert TOKENS["alice"] not in json.dumps([record.getMessage() for record in caplog.records])
