"""Gates with any angle: kept where the block says so and the device has them, else decomposed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp

from prefect_qiskit_runtime import InvalidInputError, RuntimeBackend, primitives
from prefect_qiskit_runtime.codec import decode
from prefect_qiskit_runtime.testing import OfflineService

AtIbm = Callable[..., RuntimeBackend]
run_estimator, submit_estimator = primitives.run_estimator.fn, primitives.submit_estimator.fn

DEVICE = "fake_fractional"
OBSERVABLES = [SparsePauliOp(name) for name in ("ZZ", "YX", "XI", "IY")]


def rotated(rzz: Any = 0.7, rx: Any = 0.4) -> QuantumCircuit:
    circuit = QuantumCircuit(2, name="rotated")
    circuit.rx(rx, 0)
    circuit.rx(1.1, 1)
    circuit.rzz(rzz, 0, 1)
    circuit.rx(0.3, 0)
    return circuit


def sent(cloud: OfflineService, job_id: str) -> QuantumCircuit:
    import httpx

    login = {"Authorization": f"apikey {cloud.token}"}
    with httpx.Client(base_url=f"{cloud.url}/api/v1", headers=login, trust_env=False) as http:
        found = http.post(f"{cloud.url}/v3/resources/search").json()
        http.headers["Service-CRN"] = found["items"][0]["crn"]
        ((circuit, *_),) = decode(http.get(f"/jobs/{job_id}").text)["params"]["pubs"]
    return circuit


@pytest.mark.parametrize("angle", [0.7, 2.5, -0.7, -2.5])
def test_they_stay_with_the_option_and_are_decomposed_without_it(
    cloud: OfflineService, at_ibm: AtIbm, angle: float
) -> None:
    exact = StatevectorEstimator().run([(rotated(angle), OBSERVABLES)]).result()[0].data.evs
    gates = {}
    for fractional in (True, False):
        block = at_ibm(DEVICE, transpile=True, fractional_gates=fractional, default_shots=20_000)
        job = submit_estimator([(rotated(angle), OBSERVABLES)], backend=block)
        circuit = sent(cloud, job.job_id)
        gates[fractional] = set(circuit.count_ops())
        for instruction in circuit.data:
            if instruction.operation.name == "rzz":
                assert 0 <= instruction.operation.params[0] <= math.pi / 2 + 1e-9
        np.testing.assert_allclose(job.result()[0].data.evs, exact, atol=0.15)
    assert {"rzz", "rx"} <= gates[True]
    assert gates[False] <= {"rz", "sx", "x", "cx"}


def test_what_counts_is_the_gates_of_the_block(at_ibm: AtIbm) -> None:
    isa = QuantumCircuit(5, name="isa")
    isa.rx(0.4, 0)
    isa.rzz(0.7, 0, 1)
    observable = SparsePauliOp("IIIZZ")
    with pytest.raises(InvalidInputError, match=r"pubs\[0\]: .*it has no 'rx' on qubits \(0,\)"):
        run_estimator([(isa, observable)], backend=at_ibm(DEVICE))
    block = at_ibm(DEVICE, fractional_gates=True)
    (result,) = run_estimator([(isa, observable)], backend=block)
    assert result.data.evs == pytest.approx(math.cos(0.4), abs=0.15)


def test_angles_of_rzz_are_checked_as_ibms_client_checks_them(at_ibm: AtIbm) -> None:
    block = at_ibm(DEVICE, fractional_gates=True)
    isa = QuantumCircuit(5)
    isa.rzz(2.5, 0, 1)
    angle = Parameter("angle")
    open_angle = QuantumCircuit(5)
    open_angle.rzz(2 * angle, 0, 1)
    observable = SparsePauliOp("IIIZZ")
    for pub in ((isa, observable), (open_angle, observable, [[0.1], [1.2]])):
        with pytest.raises(InvalidInputError, match=r"pubs\[0\]: .*range \[0, pi/2\]") as caught:
            run_estimator([pub], backend=block)
        assert "fractional_gates=True" in str(caught.value)
        dry_run: Any = run_estimator([pub], backend=block, dry_run=True)
        assert not dry_run.is_accepted
    dry_run = run_estimator([(open_angle, observable, [[0.1], [0.7]])], backend=block, dry_run=True)
    assert dry_run.is_accepted  # type: ignore[attr-defined]


def test_values_of_parameters_are_checked_after_transpilation_too(at_ibm: AtIbm) -> None:
    pub = (rotated(Parameter("angle")), "ZZ", [[0.1], [3.0]])
    block = at_ibm(DEVICE, transpile=True, fractional_gates=True)
    with pytest.raises(InvalidInputError, match=r"pubs\[0\]: .*range \[0, pi/2\]"):
        run_estimator([pub], backend=block)
    dry_run: Any = run_estimator([pub], backend=block, dry_run=True)
    assert not dry_run.is_accepted
    decomposed: Any = run_estimator([pub], backend=at_ibm(DEVICE, transpile=True), dry_run=True)
    assert decomposed.is_accepted


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ibms_own_client_has_the_same_gates(at_ibm: AtIbm, ibms_client: Any) -> None:
    import asyncio

    from prefect_qiskit_runtime.devices.device import device_of

    async def ours(fractional: bool) -> set[str]:
        block = at_ibm(DEVICE, fractional_gates=fractional)
        async with block.connect() as api:
            return set((await device_of(api, block, DEVICE)).target.operation_names)

    for fractional in (True, False):
        theirs = ibms_client.backend(DEVICE, use_fractional_gates=fractional).target
        assert asyncio.run(ours(fractional)) == set(theirs.operation_names)
        assert ("rzz" in theirs.operation_names) is fractional


@pytest.mark.usefixtures("service_home")
def test_the_embedded_service_runs_them_too() -> None:
    block = RuntimeBackend(name=DEVICE, transpile=True, fractional_gates=True, default_shots=20_000)
    pub = (rotated(), OBSERVABLES)
    dry_run: Any = run_estimator([pub], backend=block, dry_run=True)
    assert [one.two_qubit_gates for one in dry_run.circuits] == [1]  # two without rzz
    exact = StatevectorEstimator().run([pub]).result()[0].data.evs
    (result,) = run_estimator([pub], backend=block)
    np.testing.assert_allclose(result.data.evs, exact, atol=0.15)
