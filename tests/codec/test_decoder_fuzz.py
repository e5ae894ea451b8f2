"""Any text gives a value or the codec's error when it is decoded, in bounded time and memory."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import resource
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import PauliEvolutionGate, XGate
from qiskit.primitives import StatevectorEstimator, StatevectorSampler
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.quantum_info import Clifford, Kraus, Operator, PauliList, SparsePauliOp, Statevector
from scipy import sparse

from prefect_qiskit_runtime.codec import QuantumProgramResultDecoder, _limits, decode, encode
from prefect_qiskit_runtime.codec._decoder import _HANDLERS, _SETTINGS_CLASSES, _UPSTREAM_TYPES
from prefect_qiskit_runtime.errors import DecodingError

# `make fuzz` asks for more.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
BUDGET_BYTES = 16 * 2**20
MOST_SECONDS = 5.0
MOST_GROWN_BYTES = 600 * 2**20

FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", autouse=True)
def small_budget() -> Iterator[None]:
    """Decode with a budget of 16 MiB; the process grows by little more over all examples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_limits.BYTES_VARIABLE, str(BUDGET_BYTES))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        yield
        grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        assert grown < MOST_GROWN_BYTES


def a_circuit() -> QuantumCircuit:
    angles = ParameterVector("theta", 3)
    inner = QuantumCircuit(2, name="inner")
    inner.rx(angles[0] * 2 + Parameter("a").sin(), 0)
    circuit = QuantumCircuit(3, 2, global_phase=angles[1], metadata={"a": [1, {"b": 2}]})
    circuit.append(inner.to_instruction(), [0, 1])
    circuit.append(inner.to_gate().control(1, ctrl_state=0), [0, 1, 2])
    circuit.append(XGate().control(2, annotated=True), [0, 1, 2])
    circuit.append(PauliEvolutionGate(SparsePauliOp(["XX", "ZZ"]), 0.5), [0, 1])
    circuit.initialize([0.6, 0.8], 0)
    circuit.unitary(np.eye(2), 0)
    with circuit.if_test((circuit.clbits[0], True)):
        circuit.x(0)
    with circuit.for_loop(range(3)):
        circuit.delay(100, 0)
    with circuit.switch(circuit.cregs[0]) as case, case(1):
        circuit.h(0)
    circuit.measure([0, 1], [0, 1])
    return circuit


def corpus() -> list[Any]:
    """Return a value of each kind that travels."""
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    sampled = StatevectorSampler(seed=1).run([bell.measure_all(inplace=False)], shots=8).result()
    estimated = StatevectorEstimator().run([(bell, ["ZZ"])]).result()
    return [
        {"plain": [1, 2.5, None, True, "é"]},
        np.linspace(0, 1, 7),
        np.array(["a", "bc"]),
        np.array([Parameter("p"), 1], dtype=object),
        {1 + 2j, 3},
        datetime.datetime(2026, 1, 2),
        a_circuit(),
        Parameter("p"),
        Parameter("p") * 2,
        ParameterVector("v", 3),
        SparsePauliOp(["XX", "ZZ"], [1, 0.5]),
        PauliList(["XX", "-YY"]),
        Operator(np.eye(2)),
        Statevector([1, 0]),
        Kraus([np.eye(2)]),
        Clifford(bell),
        sparse.csr_matrix(np.eye(3)),
        XGate(),
        BindingsArray({("a", "b"): [[1, 2]]}),
        sampled,
        estimated,
    ]


CORPUS = [encode(value) for value in corpus()]


def decode_safely(text: str | bytes) -> None:
    """Decode; only the codec's own error is allowed, and soon."""
    began = time.process_time()
    with contextlib.suppress(DecodingError):
        decode(text)
    assert time.process_time() - began < MOST_SECONDS


numbers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**32 - 1, 2**63, -(2**63), 10**30, 1e308, float("nan")]),
    st.floats(),
)
leaves = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=8), st.sampled_from("XYZ"))
known = sorted({*_HANDLERS, *_UPSTREAM_TYPES})
names = st.sampled_from([*sorted(_SETTINGS_CLASSES), "PauliLindbladError", "LayerError", "open"])
modules = st.sampled_from(
    ["qiskit.quantum_info.operators", "qiskit_ibm_runtime.results.noise_learner", "os"]
)
# fmt: off
fields = [
    "data", "coeffs", "dims", "input_dims", "shape", "array", "num_bits", "fields", "metadata",
    "pub_results", "paulis", "num_qubits", "spans", "data_slices", "start", "stop", "generators",
    "rates", "errors",
]
# fmt: on
keys = st.one_of(st.sampled_from(fields), st.text(max_size=4))
payloads = st.binary(max_size=200).map(lambda data: base64.b64encode(zlib.compress(data)).decode())


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    tagged = st.fixed_dictionaries(
        {"__type__": st.sampled_from(known), "__value__": inner | payloads},
        optional={
            "__module__": modules,
            "__class__": names,
            "dtype": st.just("object"),
            "shape": st.lists(numbers, max_size=3),
            "qpy": payloads,
        },
    )
    return st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=5), tagged, tagged
    )


@FUZZ
@given(st.recursive(leaves, containers, max_leaves=20))
def test_typed_values_with_any_content(value: Any) -> None:
    decode_safely(json.dumps(value))


@FUZZ
@given(st.one_of(st.binary(max_size=100), st.text(max_size=100)))
def test_any_text(text: str | bytes) -> None:
    decode_safely(text)


interesting = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.sampled_from([1, 255, 2**16 - 1, 2**31, 2**32 - 1]).map(lambda n: struct.pack("!I", n)),
    st.sampled_from([1, 2**20, 2**40, 2**63, 2**64 - 1]).map(lambda n: struct.pack("!Q", n)),
)


@st.composite
def damaged(draw: Any, data: bytes) -> bytes:
    """Draw a change of some bytes: overwritten, inserted, removed, or cut off."""
    for _ in range(draw(st.integers(1, 3))):
        position = draw(st.integers(0, max(0, len(data) - 1)))
        piece = draw(interesting)
        kind = draw(st.sampled_from(["overwrite", "overwrite", "insert", "remove", "cut"]))
        if kind == "overwrite":
            data = data[:position] + piece + data[position + len(piece) :]
        elif kind == "insert":
            data = data[:position] + piece + data[position:]
        elif kind == "remove":
            data = data[:position] + data[position + len(piece) :]
        else:
            data = data[:position]
    return data


@st.composite
def damaged_value(draw: Any, value: Any) -> Any:
    """Draw a value with one damaged part: what it contains, its type, or bytes inside of it."""
    if isinstance(value, dict) and value:
        key = draw(st.sampled_from(sorted(value)))
        kind = draw(st.sampled_from(["inside", "inside", "inside", "remove", "replace"]))
        if kind == "inside":
            return {**value, key: draw(damaged_value(value[key]))}
        rest = {name: item for name, item in value.items() if name != key}
        return rest if kind == "remove" else {**rest, key: draw(leaves)}
    if isinstance(value, list) and value:
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], draw(damaged_value(value[index])), *value[index + 1 :]]
    if isinstance(value, str) and len(value) > 20:
        with contextlib.suppress(ValueError, zlib.error):
            packed = base64.b64decode(value, validate=True)
            try:
                data = draw(damaged(zlib.decompress(packed)))
            except zlib.error:
                return base64.b64encode(draw(damaged(packed))).decode()
            return base64.b64encode(zlib.compress(data)).decode()
    return draw(st.one_of(leaves, st.sampled_from(known)))


@FUZZ
@given(st.sampled_from(CORPUS).flatmap(lambda text: damaged_value(json.loads(text))))
def test_values_that_were_damaged_on_the_way(value: Any) -> None:
    decode_safely(json.dumps(value))


@FUZZ
@given(damaged_value(json.loads(encode(a_circuit()))))
def test_circuits_that_were_damaged_on_the_way(value: Any) -> None:
    decode_safely(json.dumps(value))


@FUZZ
@given(
    st.recursive(leaves, containers, max_leaves=10),
    st.sampled_from(["v0.1", "v0.2", "v1.0", "v2.0"]),
)
def test_results_of_quantum_programs_with_any_content(value: Any, version: str) -> None:
    result = {"schema_version": version, "data": value, "metadata": value}
    with contextlib.suppress(DecodingError):
        QuantumProgramResultDecoder.decode(json.dumps(result))


def test_the_values_that_are_damaged_arrive_if_they_are_not() -> None:
    for text in CORPUS:
        decode(text)
