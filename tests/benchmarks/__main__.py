"""Benchmarks: `make bench`. Each figure stands beside a peer or a limit, taken in the same run.

Absolute times say little on a shared machine; the ratios are what to compare over time.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prefect_qiskit_runtime.client import SyncRuntimeClient

TRIVIAL = "def main(backend, user_messenger, *, value):\n    return value\n"
PUBLISHING = """
def main(backend, user_messenger, *, count):
    for number in range(count):
        user_messenger.publish({"number": number, "energy": -1.137})
"""
ESTIMATING = Path(__file__).with_name("estimating.py")


@dataclass(frozen=True)
class Figure:
    """One line of the report."""

    what: str
    ours: float
    peer_name: str
    peer: float
    unit: str = "ms"
    larger_is_better: bool = False

    def __str__(self) -> str:
        ratio = self.ours / self.peer
        sense = "larger is better" if self.larger_is_better else "smaller is better"
        return (
            f"{self.what:<46} {self.ours:>10.1f} {self.unit:<5} {self.peer_name:<38}"
            f" {self.peer:>10.1f} {self.unit:<5} {ratio:>6.2f}x  ({sense})"
        )


def median_ms(call: Callable[[], object], times: int) -> float:
    """Median time of a call, in milliseconds."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1000


@contextmanager
def fresh_home() -> Iterator[None]:
    """A home that no service has run in yet; its service is stopped at the end."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["PREFECT_QISKIT_RUNTIME_HOME"] = home
        try:
            yield
        finally:
            command = [sys.executable, "-m", "prefect_qiskit_runtime.cli", "service", "stop"]
            subprocess.run(command, check=True, capture_output=True)


def cold_start() -> Figure:
    """From nothing to the first result; importing what the job needs is the limit."""
    script = "import numpy, qiskit, qiskit_aer, qiskit_ibm_runtime"
    imports = median_ms(lambda: subprocess.run([sys.executable, "-c", script], check=True), 2)

    def first_result() -> None:
        with SyncRuntimeClient() as client:
            program_id = client.upload_program(TRIVIAL, name="trivial")
            client.run(program_id, {"value": 1}, backend="aer_simulator").result()

    with fresh_home():
        return Figure(
            "cold start to first result", median_ms(first_result, 1), "the imports alone", imports
        )


def trivial_program(client: SyncRuntimeClient) -> Figure:
    """A program that does nothing, warm, from submission to decoded result."""
    program_id = client.upload_program(TRIVIAL, name="trivial")

    def run() -> None:
        client.run(program_id, {"value": 1}, backend="aer_simulator").result()

    run()
    return Figure("trivial program, submit to result", median_ms(run, 40), "aim", 50.0)


def interim_results(client: SyncRuntimeClient, count: int = 10_000) -> Figure:
    """How many interim results a second reach the consumer; the peer is a bare pipe."""
    program_id = client.upload_program(PUBLISHING, name="publishing")

    def run() -> None:
        job = client.run(program_id, {"count": count}, backend="aer_simulator")
        assert sum(1 for _ in job.stream()) == count

    run()
    ours = count / (median_ms(run, 3) / 1000)
    bare = count / (median_ms(lambda: _bare_pipe(count), 3) / 1000)
    return Figure(
        "interim results, published to consumed", ours, "JSON over a bare pipe", bare, "/s", True
    )


def _bare_pipe(count: int) -> None:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_send, args=(sender, count))
    process.start()
    sender.close()
    for _ in range(count):
        json.loads(receiver.recv_bytes())
    process.join()


def _send(sender: multiprocessing.connection.Connection, count: int) -> None:
    for number in range(count):
        sender.send_bytes(json.dumps({"number": number, "energy": -1.137}).encode())


def estimator_evaluations(client: SyncRuntimeClient) -> list[Figure]:
    """Energies of a parametrised circuit, one call each, in a program and in plain qiskit."""
    program_id = client.upload_program(ESTIMATING, name="estimating")
    figures = []
    for qubits, shots, peer_name in (
        (4, None, "qiskit StatevectorEstimator"),
        (4, 4096, "qiskit BackendEstimatorV2 on Aer"),
    ):
        inputs = {"qubits": qubits, "shots": shots, "evaluations": 60}
        job = client.run(program_id, inputs, backend="aer_simulator")
        ours = job.result()
        plain = subprocess.run(
            [sys.executable, str(ESTIMATING), json.dumps(inputs)],
            check=True,
            capture_output=True,
            text=True,
        )
        what = f"estimator, {qubits} qubits, {'exact' if shots is None else f'{shots} shots'}"
        figures.append(Figure(what, ours, peer_name, float(plain.stdout)))
    return figures


def codec() -> Iterator[Figure]:
    """Encoding and decoding large values, against qiskit-ibm-runtime's own encoder."""
    import numpy as np
    from qiskit import qpy
    from qiskit.circuit.library import efficient_su2
    from qiskit_ibm_runtime import RuntimeDecoder, RuntimeEncoder

    from prefect_qiskit_runtime.codec import decode, encode

    values = {
        "array of 8 MiB": np.random.default_rng(0).random(2**20),
        "circuit, 50 qubits": efficient_su2(50, reps=40),
    }
    for name, value in values.items():
        text = encode(value)
        yield Figure(
            f"encode {name}",
            median_ms(partial(encode, value), 7),
            "RuntimeEncoder",
            median_ms(partial(json.dumps, value, cls=RuntimeEncoder), 7),
        )
        yield Figure(
            f"decode {name}",
            median_ms(partial(decode, text), 7),
            "RuntimeDecoder",
            median_ms(partial(json.loads, text, cls=RuntimeDecoder), 7),
        )
    circuit = efficient_su2(50, reps=8)
    circuit.global_phase = sum(circuit.parameters, 0) / 2
    yield Figure(
        f"encode a phase of {circuit.num_parameters} parameters",
        median_ms(partial(encode, circuit), 3),
        "qpy.dump",
        median_ms(lambda: qpy.dump(circuit, io.BytesIO()), 3),
    )


def cache_keys() -> Iterator[Figure]:
    """The key of a call with a circuit, against the ways to write the circuit."""
    from qiskit import qpy
    from qiskit.circuit.library import efficient_su2
    from qiskit_ibm_runtime import RuntimeEncoder

    from prefect_qiskit_runtime.codec import fingerprint

    circuit = efficient_su2(50, reps=40)
    inputs = {"pubs": [(circuit, None, 4096)]}
    ours = median_ms(partial(fingerprint, inputs), 7)
    yield Figure(
        "cache key, 50 qubits",
        ours,
        "RuntimeEncoder",
        median_ms(partial(json.dumps, inputs, cls=RuntimeEncoder), 7),
    )
    yield Figure(
        "cache key, 50 qubits",
        ours,
        "qpy.dump",
        median_ms(lambda: qpy.dump(circuit, io.BytesIO()), 7),
    )


def exact_batch() -> Figure:
    """Exact energies of many points in one call, against the fastest way of plain Aer."""
    import numpy as np
    from qiskit.circuit.library import efficient_su2
    from qiskit.quantum_info import SparsePauliOp
    from qiskit_aer import AerSimulator

    from prefect_qiskit_runtime.program import ProgramBackend

    circuit = efficient_su2(8, reps=20).decompose()
    terms = [(pauli, [i, j], 0.1) for pauli in ("ZZ", "XX") for i in range(8) for j in range(i)]
    observable = SparsePauliOp.from_sparse_list(terms, num_qubits=8)
    points = np.random.default_rng(1).uniform(-np.pi, np.pi, (50, circuit.num_parameters))
    estimator = ProgramBackend.from_name("aer_simulator").estimator()
    saving = circuit.copy()
    saving.save_expectation_value(observable, range(8))  # type: ignore[attr-defined]
    binds = [{p: points[:, i] for i, p in enumerate(circuit.parameters)}]
    simulator = AerSimulator()
    return Figure(
        "50 exact energies in one call, 8 qubits",
        median_ms(lambda: estimator.run([(circuit, observable, points)]).result(), 5),
        "Aer save_expectation_value",
        median_ms(lambda: simulator.run(saving, parameter_binds=binds).result(), 5),
    )


def wide_sampling(client: SyncRuntimeClient) -> Figure:
    """A shallow circuit of 60 qubits with any angles, which no state vector holds."""
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(60)
    for qubit in range(60):
        circuit.ry(0.1 + qubit / 100, qubit)
    for qubit in range(59):
        circuit.cx(qubit, qubit + 1)
    circuit.rx(0.3, range(60))
    circuit.measure_all()
    inputs = {"pubs": [(circuit, None, 1024)]}

    def run() -> None:
        client.run("sampler", inputs, backend="aer_simulator").result()

    run()
    return Figure("60 qubits, 1024 shots, submit to result", median_ms(run, 5), "aim", 1000.0)


def report() -> Iterator[Figure]:
    """All figures, as they are taken."""
    yield cold_start()
    with fresh_home(), SyncRuntimeClient() as client:
        yield trivial_program(client)
        yield interim_results(client)
        yield from estimator_evaluations(client)
        yield wide_sampling(client)
    yield exact_batch()
    yield from codec()
    yield from cache_keys()


if __name__ == "__main__":
    for figure in report():
        print(figure, flush=True)
