"""The public programs and the names of retired backends, through a real service process."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import real_amplitudes
from qiskit.quantum_info import SparsePauliOp
from qiskit.result import Result
from qiskit_ibm_runtime import RuntimeDecoder, RuntimeEncoder

from prefect_qiskit_runtime.service import public_programs
from tests.circuits import HYDROGEN, ghz

from .test_primitives import submit

LOWEST = float(np.linalg.eigvalsh(HYDROGEN.to_matrix())[0])


def body_of(program: str, backend: str, **inputs: Any) -> str:
    fields = {"program_id": program, "params": inputs, "backend": backend}
    return json.dumps(fields, cls=RuntimeEncoder)


def result_of(api: Any, body: str) -> Any:
    job_id = submit(api, body)
    state = api.finish(job_id)
    assert state["status"] == "Completed", state
    return json.loads(api.http.get(f"/jobs/{job_id}/results").text, cls=RuntimeDecoder)


def failure_of(api: Any, body: str) -> str:
    state = api.finish(submit(api, body))
    assert state["status"] == "Failed"
    return state["reason"]


async def test_every_user_finds_the_public_programs_and_none_can_change_them(local) -> None:
    await local.context.store.write(public_programs.install)
    for user in ("alice", "bob"):
        async with local.client(user) as client:
            listed = (await client.get("/programs")).json()
            assert [each["id"] for each in listed["programs"]] == list(public_programs.NAMES)
            assert listed["count"] == 5
            for name in public_programs.NAMES:
                shown = (await client.get(f"/programs/{name}")).json()
                assert (shown["id"], shown["name"], shown["is_public"]) == (name, name, True)
                assert "data" not in shown
                answer = await client.delete(f"/programs/{name}")
                assert answer.status_code == 403
                assert "is part of the service" in answer.json()["error"]["message"]


async def test_a_program_of_a_user_may_have_the_name_of_a_public_one(local) -> None:
    await local.context.store.write(public_programs.install)
    async with local.client() as client:
        body = {"name": "hello-world", "data": "ZGVmIG1haW4oYiwgbSk6IC4uLg==", "description": ""}
        answer = await client.post("/programs", json={**body, "if_exists": "update"})
        assert answer.json()["outcome"] == "created"
        assert answer.json()["id"].startswith("hello-world-")


def test_hello_world(api: Any) -> None:
    job_id = submit(api, body_of("hello-world", "fake_manila", iterations=2))
    *interim, end = api.events(job_id)
    assert end["state"]["status"] == "Completed"
    messages = [json.loads(event["data"]) for event in interim if event["type"] == "interim"]
    assert [message["iteration"] for message in messages] == [0, 1]
    assert api.http.get(f"/jobs/{job_id}/results").text == '"Hello, World!"'


def test_hello_world_ignores_other_inputs_as_the_published_program_does(api: Any) -> None:
    inputs = {"iterations": 1, "interim_results": {}, "final_result": {}, "sleep_per_iteration": 0}
    assert result_of(api, body_of("hello-world", "fake_manila", **inputs)) == "Hello, World!"


def test_an_input_that_a_sample_does_not_have_is_refused(api: Any) -> None:
    answer = api.http.post("/jobs", content=body_of("sample-program", "aer_simulator", n=2))
    assert answer.status_code == 400
    assert "not in the schema: n" in answer.json()["error"]["message"]


def test_circuit_runner_compiles_runs_and_mitigates(api: Any) -> None:
    described = result_of(
        api,
        body_of(
            "circuit-runner",
            "fake_manila",
            circuits=[ghz(), ghz()],
            shots=8000,
            measurement_error_mitigation=True,
            optimization_level=1,
            seed_simulator=3,
            seed_transpiler=4,
        ),
    )
    result = Result.from_dict(described)
    assert (result.backend_name, result.success) == ("fake_manila", True)
    for index, experiment in enumerate(described["results"]):
        counts = result.get_counts(index)
        quasi = experiment["data"]["quasiprobabilities"]
        assert sum(counts.values()) == 8000
        assert sum(quasi.values()) == pytest.approx(1)
        raw = (counts["000"] + counts["111"]) / 8000
        assert raw < 0.92 < 0.96 < quasi["0x0"] + quasi["0x7"]
        assert len(experiment["header"]["final_measurement_mapping"]) == 3
        assert 1 < experiment["header"]["measurement_mitigation_overhead"] < 4


def test_circuit_runner_takes_circuits_that_are_compiled_already(api: Any) -> None:
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.measure_all()
    reason = failure_of(
        api, body_of("circuit-runner", "fake_manila", circuits=circuit, skip_transpilation=True)
    )
    assert "is not in the instruction set of fake_manila" in reason


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"meas_level": 1}, "simulators have no signals to return"),
        ({"shotss": 10}, "does not take the options shotss"),
        ({"schedule_circuit": True}, "pulse schedules are gone since Qiskit 2"),
        ({"circuits": []}, "No circuit was given"),
    ],
)
def test_circuit_runner_says_what_it_cannot_do(
    api: Any, inputs: dict[str, Any], words: str
) -> None:
    body = body_of("circuit-runner", "aer_simulator", **{"circuits": ghz(), **inputs})
    assert words in failure_of(api, body)


def test_qasm3_runner_reads_openqasm_3(api: Any) -> None:
    text = 'OPENQASM 3.0;\ninclude "stdgates.inc";\ninput float theta; qubit q; bit c;\n'
    text += "rx(theta) q; c = measure q;"
    body = body_of(
        "qasm3-runner", "aer_simulator", circuits=[text], qasm3_args={"theta": np.pi}, shots=50
    )
    assert Result.from_dict(result_of(api, body)).get_counts() == {"1": 50}
    missing = failure_of(api, body_of("qasm3-runner", "aer_simulator", circuits=text))
    assert "declares the inputs theta, which have no value in qasm3_args" in missing
    broken = failure_of(api, body_of("qasm3-runner", "aer_simulator", circuits="rx rx"))
    assert "circuits[0] is not OpenQASM 3 that Qiskit can read" in broken


def test_vqe_is_exact_without_shots(api: Any) -> None:
    job_id = submit(
        api,
        body_of(
            "vqe",
            "aer_simulator",
            ansatz=real_amplitudes(2, reps=1),
            operator=HYDROGEN,
            optimizer={"name": "SLSQP", "maxiter": 100},
            aux_operators=[SparsePauliOp("ZZ"), None],
            initial_point=[0.2, 0.1, 0.2, 3.0],
            shots=None,
            seed=1,
        ),
    )
    *interim, end = api.events(job_id)
    assert end["state"]["status"] == "Completed", end
    text = api.http.get(f"/jobs/{job_id}/results").text
    result = json.loads(text, cls=RuntimeDecoder)
    assert result["optimal_value"] == pytest.approx(LOWEST, abs=1e-5)
    assert result["eigenvalue"] == complex(result["optimal_value"])
    (parity, error), nothing = result["aux_operator_eigenvalues"]
    assert (parity, error) == (pytest.approx(-1, abs=1e-3), 0)
    assert nothing == [0, 0]
    messages = [
        json.loads(event["data"], cls=RuntimeDecoder)
        for event in interim
        if event["type"] == "interim"
    ]
    numbers = [number for number, _, _, _ in messages]
    assert numbers == list(range(1, result["cost_function_evals"] + 1))


def test_vqe_with_cobyla_measures_at_most_maxiter_points(api: Any) -> None:
    cobyla = {"name": "COBYLA", "maxiter": 3}  # SciPy measures six for four parameters
    body = body_of(
        "vqe",
        "aer_simulator",
        ansatz=real_amplitudes(2, reps=1),
        operator=HYDROGEN,
        optimizer=cobyla,
        initial_point=[0.2, 0.1, 0.2, 3.0],
        shots=None,
        seed=1,
    )
    job_id = submit(api, body)
    *interim, end = api.events(job_id)
    assert end["state"]["status"] == "Completed", end
    messages = [
        json.loads(event["data"], cls=RuntimeDecoder)
        for event in interim
        if event["type"] == "interim"
    ]
    assert [number for number, _, _, _ in messages] == [1, 2, 3]
    result = json.loads(api.http.get(f"/jobs/{job_id}/results").text, cls=RuntimeDecoder)
    assert result["optimizer_evals"] == 3
    assert result["optimal_value"] == pytest.approx(min(mean for _, _, mean, _ in messages))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"operator": {"a": 1}}, "operator: neither a SparsePauliOp"),
        ({"optimizer": {"name": "ADAM"}}, "optimizer: 'ADAM' is not one of SPSA"),
        ({"optimizer": {"name": "SPSA", "lse_solver": 1}}, "does not take lse_solver"),
        ({"initial_point": [1.0]}, "initial_point: 4 parameters"),
    ],
)
def test_vqe_says_which_input_is_wrong(api: Any, inputs: dict[str, Any], words: str) -> None:
    right = {"ansatz": real_amplitudes(2, reps=1), "operator": HYDROGEN}
    assert words in failure_of(api, body_of("vqe", "aer_simulator", **{**right, **inputs}))


@pytest.mark.parametrize("name", ["ibmq_qasm_simulator", "simulator_statevector"])
def test_a_job_for_a_retired_simulator_runs_on_the_ideal_one_with_a_warning(
    api: Any, name: str
) -> None:
    answer = api.http.post("/jobs", content=body_of("hello-world", name, iterations=0)).json()
    assert answer["backend"] == "aer_simulator"
    assert answer["messages"] == [
        {"data": f"Backend {name} is retired; the job runs on aer_simulator, without noise."}
    ]
    assert api.finish(answer["id"])["status"] == "Completed"
    assert api.http.get(f"/jobs/{answer['id']}").json()["backend"] == "aer_simulator"
    found = api.http.get("/jobs", params={"backend": name}).json()["jobs"]
    assert answer["id"] in [job["id"] for job in found]
    configuration = api.http.get(f"/backends/{name}/configuration").json()
    assert (configuration["backend_name"], configuration["simulator"]) == (name, True)
    assert api.http.get(f"/backends/{name}/properties").json() == {}
    assert api.http.get(f"/backends/{name}/status").json()["state"] is True


def test_a_retired_simulator_is_not_listed_to_todays_clients(api: Any) -> None:
    listed = api.http.get("/backends", headers={"IBM-API-Version": "2026-04-15"}).json()
    assert "ibmq_qasm_simulator" not in [device["name"] for device in listed["devices"]]


@pytest.mark.parametrize("name", ["ibmq_manila", "ibm_sherbrooke"])
def test_a_device_of_ibm_is_refused_with_the_name_of_its_simulator(api: Any, name: str) -> None:
    answer = api.http.post("/jobs", content=body_of("hello-world", name))
    assert answer.status_code == 404
    snapshot = f"fake_{name.partition('_')[2]}"
    assert f"{snapshot} simulates that device" in answer.json()["error"]["message"]


def test_a_session_on_a_retired_simulator_takes_jobs_for_it(api: Any) -> None:
    name = "ibmq_qasm_simulator"
    first = {**json.loads(body_of("hello-world", name, iterations=0)), "start_session": True}
    session_id = submit(api, json.dumps(first))
    second = {**json.loads(body_of("hello-world", name, iterations=0)), "session_id": session_id}
    job_id = submit(api, json.dumps(second))
    assert api.finish(job_id)["status"] == "Completed"
    assert api.http.get(f"/jobs/{job_id}").json()["backend"] == "aer_simulator"
    api.http.delete(f"/sessions/{session_id}/close")
