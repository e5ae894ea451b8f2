"""Results of other users' programs that would take too much or run code are refused in words."""

from __future__ import annotations

import io
import json
import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from scipy import sparse

from prefect_qiskit_runtime.codec import (
    QuantumProgramResultDecoder,
    RuntimeDecoder,
    _limits,
    decode,
    encode,
)
from prefect_qiskit_runtime.codec._qpy_limits import _require_plain_sympy, check_qpy
from prefect_qiskit_runtime.errors import DecodingError
from prefect_qiskit_runtime.settings import Settings
from tests.codec import hostile
from tests.codec.hostile import HOSTILE

# In another process, because without limits some of these texts end it.
DECODE = """
import json, resource, sys, time
import qiskit.circuit.library, qiskit.qpy, qiskit.quantum_info, qiskit_ibm_runtime, scipy.sparse
from prefect_qiskit_runtime.codec import decode
from prefect_qiskit_runtime.errors import DecodingError
from tests.codec.hostile import HOSTILE

for name, make in HOSTILE.items():
    text = make()
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    try:
        outcome = f"decoded {type(decode(text)).__name__}"
    except DecodingError as error:
        outcome = f"refused: {error}"
    seconds = time.process_time() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size) // 1024
    print(json.dumps([name, outcome, seconds, grown]), flush=True)
"""
ADDRESS_SPACE_BYTES = 6 * 2**30


@pytest.fixture(scope="module")
def outcomes() -> dict[str, tuple[str, float, int]]:
    """The outcome of each hostile text, its seconds, and by how many MiB the process grew."""
    process = subprocess.run(
        [sys.executable, "-c", DECODE],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=Path(__file__).parents[2],
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES)
        ),
    )
    lines = [json.loads(line) for line in process.stdout.splitlines()]
    return {name: (outcome, seconds, grown) for name, outcome, seconds, grown in lines}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_refused_with_little_time_and_memory(
    name: str, outcomes: dict[str, tuple[str, float, int]]
) -> None:
    outcome, seconds, grown = outcomes[name]  # missing if the process has died
    assert outcome.startswith("refused: Cannot ")
    assert seconds < 10
    assert grown < 400


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_200_megabytes_still_arrives(order: str) -> None:
    array = np.zeros((5000, 5000), order=order)  # compressed 1000 times
    array[17, 4] = 0.5
    back = decode(encode({"array": array}))["array"]
    assert back.nbytes == 200_000_000
    assert (back.dtype, back.flags.writeable) == (array.dtype, True)
    assert np.array_equal(back, array)


def test_all_values_of_a_text_share_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_limits.BYTES_VARIABLE, "100000")
    text = encode(np.zeros(8000))
    assert decode(text).shape == (8000,)
    with pytest.raises(DecodingError, match=r"would take 62.6 KiB, with 35 KiB left of 97.7 KiB"):
        decode(f"[{text}, {text}]")
    with pytest.raises(DecodingError, match="set PREFECT_QISKIT_RUNTIME_DECODED_BYTES to a larger"):
        json.loads(f"[{text}, {text}]", cls=RuntimeDecoder)


def test_a_circuit_in_the_metadata_of_a_circuit_shares_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner = QuantumCircuit(300)
    outer = QuantumCircuit(300, metadata={"inner": inner})
    text = encode(outer)
    assert decode(text).metadata["inner"].num_qubits == 300
    monkeypatch.setenv(_limits.BYTES_VARIABLE, "200000")
    assert decode(encode(inner)).num_qubits == 300
    with pytest.raises(DecodingError, match="would take"):
        decode(text)


def test_the_setting_has_the_codecs_default() -> None:
    assert Settings().decoded_bytes == _limits.DECODED_BYTES
    assert _limits.BYTES_VARIABLE == "PREFECT_QISKIT_RUNTIME_DECODED_BYTES"


def test_a_limit_that_is_not_a_number_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_limits.BYTES_VARIABLE, "lots")
    assert decode(encode(np.zeros(3))).tolist() == [0, 0, 0]


@pytest.mark.parametrize("depth", [499, 501])
def test_the_limit_of_depth_is_stated_and_exact(depth: int) -> None:
    text = "[" * depth + "]" * depth
    if depth <= _limits.DEPTH:
        assert len(decode(text)) == 1
        return
    with pytest.raises(DecodingError, match="nested more than 500 levels deep"):
        decode(text)


@pytest.mark.parametrize(
    "text",
    [
        hostile.settings("open", file="x"),
        hostile.settings("random_unitary", dims=2),
        hostile.settings("ScalarOp", dims=2**40),
        hostile.settings("Popen", module="subprocess", args="id"),
        hostile.tagged("_json", {"args": "id"}, __module__="subprocess", __class__="Popen"),
        hostile.tagged(
            "_json", {"shape": 9}, __module__="qiskit_ibm_runtime.results.x", __class__="np"
        ),
        hostile.tagged("Exec", "import os"),
    ],
)
def test_no_class_is_built_that_is_not_in_the_list(text: str) -> None:
    assert decode(text) == json.loads(text)


def test_a_list_of_operators_is_not_simulated() -> None:
    operator = SparsePauliOp(["Z" * 40])
    text = hostile.tagged("ndarray", [json.loads(encode(operator))])
    assert decode(text).tolist() == [operator]


@pytest.mark.parametrize("version", range(13, 18))
def test_each_version_of_qpy_is_followed_to_its_end(version: int) -> None:
    x = Parameter("x")
    circuit = QuantumCircuit(3, 2, global_phase=x, metadata={"a": 1})
    inner = QuantumCircuit(1, name="inner")
    inner.rz(x * 2 + 1, 0)
    circuit.append(inner.to_instruction(), [0])
    circuit.append(inner.to_gate().control(2, ctrl_state=1), [0, 1, 2])
    with circuit.if_test((circuit.clbits[0], True)):
        circuit.x(0)
    with circuit.for_loop(range(3)):
        circuit.delay(10**9, 0)
    circuit.initialize([0.6, 0.8], 0)
    circuit.unitary(np.eye(4), [0, 1])
    data = hostile.as_qpy(circuit, version)
    check_qpy(data)
    for end in range(0, len(data) - 1, 7):
        with pytest.raises(DecodingError, match="Cannot read a circuit: "):
            check_qpy(data[:end])
    assert qpy.load(io.BytesIO(data)) == [circuit]


@pytest.mark.parametrize(
    "text",
    [
        'sin(\'__import__("os").system("id")\')',
        "Symbol('x').__class__",
        "Pow(Integer(9), Pow(Integer(9), Integer(9)))",
        "Pow(Pow(Integer(9), Integer(64)), Integer(64))",
        "Pow(Integer(9), Integer(999999999))",
        "Float('1e999999999')",
        "Integer(" + "9" * 50 + ")",
        "(lambda: 1)()",
        "[x for x in y]",
        "(" * 100_000,
    ],
)
def test_sympys_text_of_old_circuits_may_hold_no_code_and_no_tower_of_powers(text: str) -> None:
    with pytest.raises(DecodingError, match="Cannot read a circuit: an expression "):
        _require_plain_sympy(text)


@pytest.mark.parametrize(
    "text",
    [
        "Add(Mul(Integer(2), Symbol('x')), Rational(1, 2))",
        "Pow(Integer(2), Mul(Integer(100), Symbol('x')))",
        "Mul(Integer(-1), sin(Symbol('y')), Float('0.25', precision=53))",
        "Pow(Integer(2), Rational(1, 2))",
    ],
)
def test_plain_expressions_of_old_circuits_are_read(text: str) -> None:
    _require_plain_sympy(text)


def test_expressions_of_symengine_are_refused_because_they_may_be_pickles() -> None:
    circuit = QuantumCircuit(1)
    circuit.rz(Parameter("x") + 1, 0)
    data = hostile.as_qpy(circuit, 13)
    old = data[:6] + b"\x0c" + data[7:18] + b"e" + data[19:]
    with pytest.raises(DecodingError, match="symengine, whose form can run code"):
        check_qpy(old)


def test_a_matrix_that_is_not_compressed_data_is_an_error_of_the_codec() -> None:
    with pytest.raises(DecodingError, match="Cannot decode a value of type 'spmatrix'"):
        decode(hostile.tagged("spmatrix", "AAAA"))
    matrix = sparse.csr_matrix(np.eye(3))
    assert decode(encode(matrix)).toarray().tolist() == np.eye(3).tolist()


def test_results_of_quantum_programs_hold_no_typed_values_and_no_bombs() -> None:
    bomb = {"schema_version": "v0.1", "x": json.loads(hostile.tagged("set", [1]))}
    with pytest.raises(DecodingError, match="with typed values"):
        QuantumProgramResultDecoder.decode(json.dumps(bomb))
    zeros = {"data": hostile.zeros(2**24), "shape": [10], "dtype": "f64"}
    with pytest.raises(DecodingError, match="larger than its shape"):
        QuantumProgramResultDecoder.decode(json.dumps({"schema_version": "v0.1", "x": zeros}))
    large = {"data": "", "shape": [2**40], "dtype": "bool"}
    with pytest.raises(DecodingError, match=r"would take 1\.02e"):
        QuantumProgramResultDecoder.decode(json.dumps({"schema_version": "v0.1", "x": large}))
    for text in ("[]", "7", '{"schema_version": []}', "{", '{"schema_version": "v0.1"}'):
        with pytest.raises(DecodingError, match="quantum program cannot be read"):
            QuantumProgramResultDecoder.decode(text)


def test_a_number_of_qubits_of_a_nested_circuit_is_charged_as_well() -> None:
    inner = QuantumCircuit(1, name="inner")
    outer = QuantumCircuit(1)
    outer.append(inner.to_instruction(), [0])
    data = hostile.as_qpy(outer)
    head = struct.pack("!II", 1, 0)
    position = data.rindex(head, 0, data.rindex(b"inner"))
    many = data[:position] + struct.pack("!II", 2**31, 0) + data[position + 8 :]
    with pytest.raises(DecodingError, match=r"2147483648 qubits|would take|QPY"):
        check_qpy(many)
