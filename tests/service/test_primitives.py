"""The primitives as today's IBM client sends them, through a real service process.

The bodies are made by qiskit-ibm-runtime itself: its primitives, its options, its encoder.
"""

from __future__ import annotations

import base64
import json
import warnings
from typing import Any, get_args

import numpy as np
import pytest
from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Parameter
from qiskit.primitives import PrimitiveResult
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime import EstimatorV2, RuntimeDecoder, RuntimeEncoder, SamplerV2
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from prefect_qiskit_runtime.models import PRIMITIVES
from prefect_qiskit_runtime.program.primitive_options import PrimitiveName
from prefect_qiskit_runtime.service import primitives

IDEAL, NOISY = AerSimulator(), FakeManilaV2()
NAMES = {"aer_simulator": IDEAL, "fake_manila": NOISY}
EMPTY_PROGRAM = {
    "schema_version": "v2.0",
    "quantum_program": {"shots": 1, "items": []},
    "options": {},
}


class Recorder:
    """Takes the place of IBM's service behind a primitive: keeps what would be sent."""

    def _run(self, **call: Any) -> dict[str, Any]:
        return call


def body_of(kind: type, pubs: list[Any], backend: str, options: Any = None, **run: Any) -> str:
    """Return the body that IBM's client posts to /jobs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # IBM's V2 primitives since 0.50
        primitive = kind(mode=NAMES[backend], options=options)
        primitive._service = Recorder()
        call = primitive.run(pubs, **run)
    fields = {
        "program_id": call["program_id"],
        "params": call["inputs"],
        "log_level": call["options"]["log_level"],
        "backend": backend,
    }
    if limit := call["options"]["max_execution_time"]:
        fields["cost"] = limit
    return json.dumps(fields, cls=RuntimeEncoder)


def submit(api: Any, body: str) -> str:
    answer = api.http.post("/jobs", content=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def result_of(api: Any, body: str) -> PrimitiveResult[Any]:
    job_id = submit(api, body)
    assert api.finish(job_id)["status"] == "Completed", api.http.get(f"/jobs/{job_id}/logs").text
    return json.loads(api.http.get(f"/jobs/{job_id}/results").text, cls=RuntimeDecoder)


def rotation(*, measured: bool = False) -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.ry(Parameter("angle"), 0)
    circuit.cx(0, 1)
    if measured:
        circuit.measure_all()
    return circuit


def isa(circuit: QuantumCircuit) -> QuantumCircuit:
    passes = generate_preset_pass_manager(optimization_level=1, backend=NOISY, seed_transpiler=1)
    return passes.run(circuit)


def test_the_estimator_is_exact_on_the_ideal_backend(api: Any) -> None:
    observables = [[SparsePauliOp("ZZ")], [SparsePauliOp(["ZI", "XX"], [1, 0.5])]]
    pub = (rotation(), observables, [[0.0], [np.pi / 2]])
    result = result_of(api, body_of(EstimatorV2, [pub, pub], "aer_simulator"))
    assert isinstance(result, PrimitiveResult)
    for pub_result in result:
        assert pub_result.data.evs == pytest.approx(np.array([[1, 1], [1, 0.5]]), abs=1e-12)
        assert pub_result.data.stds.tolist() == [[0, 0], [0, 0]]


def test_the_precision_of_a_run_is_the_clients(api: Any) -> None:
    body = body_of(
        EstimatorV2, [(rotation(), "XX", [1.0])], "aer_simulator", {"seed_estimator": 4},
        precision=0.1,
    )  # fmt: skip
    first, again = (result_of(api, body)[0] for _ in range(2))
    assert first.metadata["shots"] == 100
    assert first.data.evs == again.data.evs


def test_the_sampler(api: Any) -> None:
    options = {"default_shots": 300, "simulator": {"seed_simulator": 5}}
    pubs = [(rotation(measured=True), [[0.0], [np.pi]])]
    body = body_of(SamplerV2, pubs, "aer_simulator", options)
    (result,) = result_of(api, body)
    assert result.data.meas.get_counts(0) == {"00": 300}
    assert result.data.meas.get_counts(1) == {"11": 300}
    assert body_of(SamplerV2, pubs, "aer_simulator", options) == body


def test_a_backend_with_noise_takes_the_circuits_that_the_client_transpiled(api: Any) -> None:
    circuit = isa(rotation())
    observable = SparsePauliOp("ZZ").apply_layout(circuit.layout)
    options = {"simulator": {"seed_simulator": 2}}
    estimated = result_of(
        api, body_of(EstimatorV2, [(circuit, observable, [0.3])], "fake_manila", options)
    )
    assert 0.7 < estimated[0].data.evs < 1
    assert 0 < estimated[0].data.stds < 0.02
    measured = isa(rotation(measured=True))
    sampled = result_of(api, body_of(SamplerV2, [(measured, [0.0])], "fake_manila", options))
    counts = sampled[0].data.meas.get_counts()
    assert 3500 < counts["00"] < sum(counts.values()) == 4096


def test_options_for_hardware_are_recorded_and_logged_so_that_the_client_works(api: Any) -> None:
    options = {
        "resilience_level": 2,
        "dynamical_decoupling": {"enable": True, "sequence_type": "XX"},
        "resilience": {"zne_mitigation": True},
        "experimental": {"unheard_of": 1},
        "max_execution_time": 50,
    }
    job_id = submit(api, body_of(EstimatorV2, [(rotation(), "ZZ", [0])], "aer_simulator", options))
    assert api.finish(job_id)["status"] == "Completed"
    result = json.loads(api.http.get(f"/jobs/{job_id}/results").text, cls=RuntimeDecoder)
    assert result.metadata["unsupported_options"] == {
        "dynamical_decoupling.enable": True,
        "dynamical_decoupling.sequence_type": "XX",
        "resilience.zne_mitigation": True,
        "experimental.unheard_of": 1,
        "resilience_level": 2,
    }
    assert "WARNING" in api.http.get(f"/jobs/{job_id}/logs").text
    assert api.http.get(f"/jobs/{job_id}").json()["cost"] == 50


def test_or_they_are_refused_if_the_body_says_so(api: Any) -> None:
    body = json.loads(
        body_of(EstimatorV2, [(rotation(), "ZZ", [0])], "aer_simulator", {"resilience_level": 1})
    )
    body["params"]["unsupported_options"] = "refuse"
    state = api.finish(submit(api, json.dumps(body)))
    assert state["status"] == "Failed"
    assert "do not support the options resilience_level" in state["reason"]


def test_lists_of_circuits_are_what_clients_before_2024_send(api: Any) -> None:
    params = {
        "circuits": [rotation(), rotation()],
        "circuit_indices": [0, 1],
        "observables": [SparsePauliOp("ZZ"), SparsePauliOp("ZI")],
        "observable_indices": [0, 1],
        "parameters": [["angle"], ["angle"]],
        "parameter_values": [[0.3], [0.3]],
        "run_options": {"shots": None, "init_qubits": True, "noise_model": None},
        "transpilation_settings": {"skip_transpilation": False},
        "resilience_settings": {"level": 1, "noise_factors": [1, 3, 5]},
    }
    body = {"program_id": "estimator", "params": params, "backend": "aer_simulator"}
    result = result_of(api, json.dumps(body, cls=RuntimeEncoder))
    assert result["values"] == pytest.approx([1, np.cos(0.3)])
    assert result["metadata"][0] == {
        "header_metadata": {},
        "variance": 0,
        "path": "exact",
        "unsupported_options": {"resilience_settings.level": 1},
    }


def test_an_error_names_the_pub(api: Any) -> None:
    body = json.loads(body_of(SamplerV2, [(rotation(measured=True), [0])] * 2, "aer_simulator"))
    body["backend"] = "fake_manila"
    body["params"]["pubs"][0][0] = json.loads(
        json.dumps(isa(rotation(measured=True)), cls=RuntimeEncoder)
    )
    state = api.finish(submit(api, json.dumps(body)))
    assert state["status"] == "Failed"
    assert "pubs[1]: Circuit" in state["reason"]
    assert "Transpile it first" in state["reason"]


@pytest.mark.parametrize(
    ("params", "path", "rule"),
    [
        ({}, "$", 'required: ["pubs"]'),
        ({"pubs": {}}, "$.pubs", 'type: "array"'),
        ({"pubs": [], "version": 1}, "$.version", "const: 2"),
        ({"circuits": {}}, "$.circuits", 'type: "array"'),
        ({"circuits": [], "run_options": 1}, "$.run_options", 'type: ["object", "null"]'),
        ({"pubs": [], "options": [1]}, "$.options", 'type: ["object", "null"]'),
        (
            {"pubs": [], "unsupported_options": "ignore"},
            "$.unsupported_options",
            'enum: ["refuse", "record"]',
        ),
    ],
)
def test_a_body_of_another_form_is_refused_when_it_is_sent(
    api: Any, params: dict[str, Any], path: str, rule: str
) -> None:
    answer = api.http.post(
        "/jobs", json={"program_id": "sampler", "params": params, "backend": "aer_simulator"}
    )
    assert answer.status_code == 400
    assert (answer.json()["error"]["path"], answer.json()["error"]["rule"]) == (path, rule)


@pytest.mark.parametrize("name", primitives.NAMES)
async def test_every_user_can_run_a_primitive_and_none_can_change_it(local, name: str) -> None:
    await local.context.store.write(primitives.install)
    source = base64.b64encode(b"def main(backend, user_messenger): ...").decode()
    for user in ("alice", "bob"):
        async with local.client(user) as client:
            params = EMPTY_PROGRAM if name == "executor" else {"pubs": []}
            job = {"program_id": name, "params": params, "backend": "aer_simulator"}
            assert (await client.post("/jobs", json=job)).status_code == 200
            shown = await client.get(f"/programs/{name}")
            assert (shown.json()["id"], shown.json()["is_public"]) == (name, True)
            assert "data" not in shown.json()
            for change in (
                client.delete(f"/programs/{name}"),
                client.put(f"/programs/{name}/data", content=source),
                client.put(f"/programs/{name}/private"),
                client.patch(f"/programs/{name}", json={"name": "mine"}),
            ):
                answer = await change
                assert answer.status_code == 403
                assert "is part of the service" in answer.json()["error"]["message"]
            listed = (await client.get("/programs")).json()
            assert (listed["programs"], listed["count"]) == ([], 0)


async def test_a_new_source_is_a_new_version_and_the_same_one_is_not(local, monkeypatch) -> None:
    async with local.client() as client:
        for description, version in (("First.", 1), ("First.", 1), ("Second.", 2)):
            monkeypatch.setitem(primitives._DESCRIPTIONS, "sampler", description)
            await local.context.store.write(primitives.install)
            shown = (await client.get("/programs/sampler")).json()
            assert (shown["version"], shown["description"]) == (version, description)


def test_what_runs_here_is_all_that_ibm_runs_but_the_noise_learner() -> None:
    ours = set(PRIMITIVES) - {"noise-learner"}
    assert set(primitives.NAMES) == ours
    # A copy: images need not have pydantic, which `models` needs.
    assert set(get_args(PrimitiveName)) == ours


def test_the_log_of_a_completed_primitive_ends_with_a_line(api) -> None:
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    job_id = submit(api, body_of(SamplerV2, [(circuit,)], "aer_simulator"))
    assert api.finish(job_id)["status"] == "Completed"
    assert api.http.get(f"/jobs/{job_id}/logs").text == "Completed\n"


def test_the_log_of_a_public_program_has_only_its_own_lines(api) -> None:
    body = {"program_id": "hello-world", "backend": "aer_simulator", "params": {}}
    job_id = api.http.post("/jobs", json=body).json()["id"]
    assert api.finish(job_id)["status"] == "Completed"
    assert api.http.get(f"/jobs/{job_id}/logs").text == ""


@pytest.mark.parametrize("default", [None, 400])
def test_randomizations_and_their_shots_set_the_shots(api, default) -> None:
    twirling = {"num_randomizations": 16, "shots_per_randomization": 100, "enable_gates": True}
    options = {"twirling": twirling, **({} if default is None else {"default_shots": default})}
    circuit = rotation().assign_parameters([0.5])
    measured = rotation(measured=True).assign_parameters([0.5])

    estimated = result_of(
        api, body_of(EstimatorV2, [(circuit, "ZZ")], "aer_simulator", {**options})
    )
    sampled = result_of(
        api, body_of(SamplerV2, [(measured,), (measured, None, 7)], "aer_simulator", options)
    )

    assert estimated[0].metadata["shots"] == 1600
    assert [pub.data.meas.num_shots for pub in sampled] == [1600, 7]
    assert estimated.metadata["unsupported_options"]["twirling.enable_gates"] is True
    assert "twirling.num_randomizations" not in estimated.metadata["unsupported_options"]


def test_a_number_of_randomizations_alone_sets_no_shots(api) -> None:
    options = {"twirling": {"num_randomizations": 16}, "default_shots": 400}
    measured = rotation(measured=True).assign_parameters([0.5])
    sampled = result_of(api, body_of(SamplerV2, [(measured,)], "aer_simulator", options))
    assert sampled[0].data.meas.num_shots == 400
    assert sampled.metadata["unsupported_options"]["twirling.num_randomizations"] == 16


def test_the_noise_learner_is_refused_with_the_reason(api) -> None:
    body = {"program_id": "noise-learner", "backend": "fake_manila", "params": {}}
    answer = api.http.post("/jobs", json=body)
    assert answer.status_code == 404
    message = answer.json()["error"]["message"]
    assert message.startswith("There is no program 'noise-learner'. It measures the noise of")
    assert api.http.get("/jobs", params={"program": "noise-learner"}).json()["count"] == 0
