"""Values that cannot be encoded are refused, and the error names their place."""

from __future__ import annotations

import json

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import (
    Clifford,
    CNOTDihedral,
    Operator,
    ScalarOp,
    SparseObservable,
    StabilizerState,
)

from prefect_qiskit_runtime.codec import RuntimeEncoder, decode, encode, encode_inputs
from prefect_qiskit_runtime.errors import DecodingError, EncodingError


class Molecule:
    pass


def itself() -> list:
    value: list = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("inputs", "path"),
    [
        ({"hamiltonian": {"terms": [1, 2, 3, Molecule()]}}, "$.hamiltonian.terms[3]"),
        ({"f": len}, "$.f"),
        ({"cls": Molecule}, "$.cls"),
        ({"data": b"\x00"}, "$.data"),
        ({"a": (1, {"b": {Molecule()}})}, "$.a[1].b[0]"),
        ({"grid": np.array([[1, 2], [3, Molecule()]], dtype=object)}, "$.grid[1][1]"),
        ({"edges": {(0, 1): 2}}, "$.edges"),
        ({"counts": {np.int64(3): 2}}, "$.counts"),
        ({"loop": itself()}, "$.loop[0]"),
        ({"obs": SparseObservable("X")}, "$.obs"),
        ({"when": np.datetime64("2026-01-01")}, "$.when"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_error_names_the_path(inputs, path):
    with pytest.raises(EncodingError) as caught:
        encode_inputs(inputs)

    assert caught.value.path == path
    assert str(caught.value).startswith(f"Cannot encode {path}: ")


def test_the_error_names_the_type_and_what_to_do():
    with pytest.raises(EncodingError) as caught:
        encode_inputs({"molecule": Molecule()})

    assert str(caught.value) == (
        f"Cannot encode $.molecule: a value of type {__name__}.Molecule has no encoding. Turn it "
        "into dicts, lists, numbers, text, numpy arrays or Qiskit objects, or give its class a "
        "to_json() method that returns JSON text."
    )


def test_a_name_of_an_input_must_be_text():
    with pytest.raises(EncodingError, match=r"Names of inputs are text; 3 is of type int"):
        encode_inputs({3: 1})  # type: ignore[dict-item]


def test_nesting_without_end_is_refused():
    value: list = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(EncodingError):
        encode(value)


def test_a_given_encoder_decides_and_its_failure_has_a_path_too():
    class Strict(json.JSONEncoder):
        def default(self, o):
            if isinstance(o, Molecule):
                return "molecule"
            raise ValueError("only molecules")

    assert encode([Molecule()], encoder=Strict) == '["molecule"]'
    with pytest.raises(EncodingError, match=r"\$\[1\].*ValueError: only molecules") as caught:
        encode([Molecule(), 1j], encoder=Strict)
    assert caught.value.path == "$[1]"


def test_a_subclass_of_ours_extends_it():
    class WithMolecules(RuntimeEncoder):
        def default(self, o):
            return "molecule" if isinstance(o, Molecule) else super().default(o)

    assert decode(encode([Molecule(), 1j], encoder=WithMolecules)) == ["molecule", 1j]


@pytest.mark.parametrize("module", ["os", "qiskit_algorithms.optimizers", "qiskit.quantum_infos"])
def test_settings_of_other_modules_stay_the_dict_that_travelled(module):
    tagged = {
        "__type__": "settings",
        "__module__": module,
        "__class__": "Operator",
        "__value__": {"data": [[1]]},
    }
    assert decode(json.dumps(tagged)) == tagged


@pytest.mark.parametrize("name", ["random_unitary", "BaseOperator", "no_such_class", "Quaternion"])
def test_settings_build_operators_and_states_only(name):
    tagged = {
        "__type__": "settings",
        "__module__": "qiskit.quantum_info.operators",
        "__class__": name,
        "__value__": {},
    }
    assert decode(json.dumps(tagged)) == tagged


def test_json_objects_of_other_modules_are_not_imported():
    tagged = {
        "__type__": "_json",
        "__module__": "subprocess",
        "__class__": "Popen",
        "__value__": {"args": ["true"]},
    }
    assert decode(json.dumps(tagged)) == tagged


@pytest.mark.parametrize("text", ["", "{", "not json", b"\xff\xfe"])
def test_what_is_not_json_is_a_decoding_error(text):
    with pytest.raises(DecodingError, match=r"Cannot decode \d+ characters as JSON"):
        decode(text)


@pytest.mark.parametrize("tag", ["QuantumCircuit", "spmatrix", "ParameterExpression", "complex"])
def test_a_broken_value_is_a_decoding_error_that_names_its_type(tag):
    with pytest.raises(DecodingError, match=r"Cannot decode a"):
        decode(json.dumps({"__type__": tag, "__value__": "AAAA"}))


def test_pickled_arrays_are_not_loaded():
    import base64
    import io
    import zlib

    buffer = io.BytesIO()
    np.save(buffer, np.array([Molecule()], dtype=object), allow_pickle=True)
    value = base64.b64encode(zlib.compress(buffer.getvalue())).decode()
    with pytest.raises(DecodingError, match="they would be pickled"):
        decode(json.dumps({"__type__": "ndarray", "__value__": value}))


def test_a_circuit_of_a_newer_qpy_says_so():
    import base64
    import zlib

    tagged = json.loads(encode(QuantumCircuit(1)))
    data = bytearray(zlib.decompress(base64.b64decode(tagged["__value__"])))
    data[6] = 99
    tagged["__value__"] = base64.b64encode(zlib.compress(bytes(data))).decode()
    with pytest.raises(DecodingError, match="QPY version 99"):
        decode(json.dumps(tagged))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.longdouble("0.1"), r"longdouble: it has more digits than JSON carries\. Send float"),
        (np.clongdouble(1), r"clongdouble: it has more digits than JSON carries\. Send float"),
        (np.ma.masked_array([1, 2], mask=[0, 1]), r"the mask of a masked array does not travel\. "),
        (np.ma.masked_array([1, 2]), r"the mask of a masked array does not travel\. "),
        (np.ma.masked, r"the mask of a masked array does not travel\. "),
        (ScalarOp(2, 3), r"ScalarOp has no encoding\. Send it as an operator: .*Operator\(value\)"),
        (CNOTDihedral(num_qubits=2), r"CNOTDihedral has no encoding\. Send its circuit, value\.to"),
        (StabilizerState(Clifford(np.eye(2))), r"has no encoding\. Send its Clifford, "),
        (SparseObservable("X"), r"no encoding\. Send it as SparsePauliOp\.from_sparse_observable"),
        (len, r"Functions and classes do not travel"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_would_be_changed_or_lost_is_refused_with_what_to_send(value, message):
    with pytest.raises(EncodingError, match=message) as caught:
        encode_inputs({"data": [1.0, value]})

    assert caught.value.path == "$.data[1]"


@pytest.mark.parametrize("name", ["ScalarOp", "CNOTDihedral", "StabilizerState"])
def test_what_is_advised_in_place_of_an_operator_travels(name):
    advised = {
        "ScalarOp": Operator(ScalarOp(2, 3)),
        "CNOTDihedral": CNOTDihedral(num_qubits=2).to_circuit(),
        "StabilizerState": StabilizerState(Clifford(np.eye(2))).clifford,
    }[name]

    assert decode(encode(advised)) == advised
