"""Values survive a round trip, and plain values cost no import."""

from __future__ import annotations

import datetime
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from qiskit.circuit import Parameter, ParameterExpression, ParameterVector, QuantumCircuit
from qiskit.circuit.library import RXGate, efficient_su2
from qiskit.quantum_info import (
    Clifford,
    DensityMatrix,
    Operator,
    Pauli,
    PauliList,
    SparsePauliOp,
    Statevector,
)
from scipy import sparse

from prefect_qiskit_runtime.codec import decode, encode, encode_inputs


def round_trip(value):
    return decode(encode(value))


def parametrised_circuit() -> QuantumCircuit:
    a, b = Parameter("a"), Parameter("b")
    v = ParameterVector("v", 3)
    circuit = QuantumCircuit(2, metadata={"when": "now"})
    circuit.rx(a + b, 0)
    circuit.rz(a - 2 * b, 1)
    circuit.ry((v[0] + v[2]).sin() * a, 0)
    circuit.cx(0, 1)
    return circuit


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, "text", None, True], "b": {}},
        1 + 2j,
        complex(math.inf, -0.0),
        datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC),
        {1, 2, 3},
        {(0, 1), (1, 2)},
        {"1": {"x"}},
        Pauli("-XYZ"),
        PauliList(["XX", "ZZ"]),
        SparsePauliOp(["XX", "ZZ"], [0.5, 1j]),
        Operator(np.eye(2)),
        Statevector([1, 0]),
        DensityMatrix(np.eye(2) / 2),
        Clifford(QuantumCircuit(2)),
        Parameter("p"),
        ParameterVector("v", 3)[1],
        parametrised_circuit(),
        RXGate(0.25),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_comes_back_equal_and_of_its_type(value):
    back = round_trip(value)

    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.int32(7), 7),
        (np.uint8(255), 255),
        (np.bool_(True), True),
        (np.complex64(1j), 1j),
        ((1, (2, 3)), [1, [2, 3]]),
        (frozenset({1}), {1}),
        ({1: "one"}, {"1": "one"}),
    ],
    ids=repr,
)
def test_a_value_without_a_form_of_its_own_arrives_as_the_nearest_one(value, expected):
    back = round_trip(value)

    assert back == expected
    assert type(back) is type(expected)


@pytest.mark.parametrize("dtype", ["f8", "c16", "i4", "?", "<U3"])
def test_arrays_keep_dtype_and_shape(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)

    back = round_trip(array)

    assert back.dtype == array.dtype
    assert back.tolist() == array.tolist()


def test_object_arrays_stay_arrays_of_the_same_objects():
    p = Parameter("p")
    array = np.empty((2, 2), dtype=object)
    array[0, 0], array[0, 1], array[1, 0], array[1, 1] = 1, "two", [3, 4], 2 * p

    back = round_trip(array)

    assert back.dtype == object
    assert back.tolist() == array.tolist()


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csc_array])
def test_sparse_matrices_keep_their_kind(container):
    matrix = container(np.diag([1.0, 2.0]))

    back = round_trip(matrix)

    assert type(back) is type(matrix)
    assert back.toarray().tolist() == matrix.toarray().tolist()


def test_nan_and_infinities_are_written_as_python_writes_them():
    assert encode([math.nan, math.inf, -math.inf]) == "[NaN, Infinity, -Infinity]"
    nan, inf, minus = round_trip([math.nan, math.inf, -math.inf])
    assert math.isnan(nan)
    assert (inf, minus) == (math.inf, -math.inf)


@pytest.mark.parametrize(
    "make",
    [
        lambda p, v: 2 * p + 1,
        lambda p, v: (p + v[0]) * (p - v[2]) / 3,
        lambda p, v: p.sin() ** 2 + v[1].exp(),
        lambda p, v: (2 + 0j) * p,
    ],
    ids=["linear", "shared", "functions", "complex-typed"],
)
def test_bare_parameter_expressions_come_back(make):
    expression = make(Parameter("p"), ParameterVector("v", 3))

    back = round_trip(expression)

    assert isinstance(back, ParameterExpression)
    assert back == expression


def test_an_expression_of_parameters_meets_its_circuit_again():
    circuit = parametrised_circuit()
    expression = circuit.parameters[0] * 2

    back = round_trip({"circuit": circuit, "expression": expression})

    assert back["expression"].parameters <= set(back["circuit"].parameters)
    assert back["circuit"].metadata == {"when": "now"}


def test_a_bound_expression_arrives_as_a_number():
    p = Parameter("p")
    assert round_trip((2 * p).bind({p: 0.25})) == 0.5


def test_parameter_vectors_come_back_with_equal_elements():
    vector = ParameterVector("v", 4)

    back = round_trip(vector)

    assert list(back) == list(vector)
    assert len(round_trip(ParameterVector("none", 0))) == 0


def test_a_hamiltonian_with_parameters_as_coefficients_comes_back():
    p = Parameter("p")
    hamiltonian = SparsePauliOp(["XX", "ZZ", "II"], np.array([p, 2 * p + 1, 0.5]))

    back = round_trip(hamiltonian)

    bound = {p: 0.3}
    assert back.assign_parameters(bound) == hamiltonian.assign_parameters(bound)


def test_an_object_with_to_json_arrives_as_its_text():
    class Optimum:
        def to_json(self):
            return '{"x": 1}'

    assert round_trip(Optimum()) == '{"x": 1}'


def test_a_dict_that_looks_tagged_but_is_not_stays_a_dict():
    value = {"__type__": "mine", "other": 1}
    assert round_trip(value) == value
    assert round_trip({"__type__": ["x"], "__value__": 1}) == {"__type__": ["x"], "__value__": 1}


def test_keys_that_upstream_gives_a_meaning_are_plain_keys():
    value = {"program": "vqe", "params": [1j]}
    assert round_trip(value) == value


def test_integer_keys_of_settings_are_flagged_as_upstream_flags_them():
    class Layout:
        def __init__(self):
            self.settings = {"map": {0: 2, 1: 3}}

    back = round_trip(Layout())

    assert back["__value__"]["map"] == {"0": 2, "1": 3, "__int_keys__": True}


def test_equal_sets_give_equal_text():
    assert encode({"b", "a", "c"}) == '{"__type__": "set", "__value__": ["a", "b", "c"]}'


def test_inputs_are_one_object():
    text = encode_inputs({"n": 3, "z": 1j})
    assert text == '{"n": 3, "z": {"__type__": "complex", "__value__": [0.0, 1.0]}}'


def test_bytes_are_decoded_as_text():
    assert decode(b'{"a": "\xc3\xa9"}') == {"a": "é"}


def test_a_fifty_qubit_circuit_comes_back():
    circuit = efficient_su2(50, reps=4)
    assert round_trip(circuit) == circuit


def test_plain_values_import_neither_qiskit_nor_numpy():
    program = """
import sys
from prefect_qiskit_runtime.codec import decode, encode, encode_inputs
text = encode_inputs({"a": [1, 2.5, None, True, "x"], "b": {"c": -0.0}})
assert decode(text) == {"a": [1, 2.5, None, True, "x"], "b": {"c": -0.0}}
assert decode(encode({1j, 2j})) == {1j, 2j}
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"qiskit", "qiskit_ibm_runtime", "numpy", "prefect"}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_circuits_and_arrays_do_not_import_qiskit_ibm_runtime():
    program = """
import sys
import numpy as np
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from prefect_qiskit_runtime.codec import decode, encode
decode(encode([QuantumCircuit(1), SparsePauliOp("Z"), np.zeros(3)]))
print("qiskit_ibm_runtime" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_decoder_class_and_a_result_decoder_are_both_taken():
    class Numbers(json.JSONDecoder):
        def decode(self, s):
            return super().decode(s)["n"]

    class Doubled:
        @classmethod
        def decode(cls, data):
            return 2 * json.loads(data)["n"]

    assert decode('{"n": 3}', Numbers) == 3
    assert decode('{"n": 3}', Doubled) == 6
