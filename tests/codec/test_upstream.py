"""The same text as the encoder of the installed qiskit-ibm-runtime, at no more cost."""

from __future__ import annotations

import datetime
import json

import numpy as np
import pytest
import qiskit_ibm_runtime
from qiskit.circuit import Parameter, ParameterVector, QuantumCircuit
from qiskit.circuit.library import RXGate
from qiskit.primitives import StatevectorEstimator, StatevectorSampler
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import Operator, Pauli, SparsePauliOp
from qiskit_aer.noise import NoiseModel, depolarizing_error
from scipy import sparse

from prefect_qiskit_runtime.codec import decode, encode, seams
from tests.circuits import bell


def upstream_text(value) -> str:
    return json.dumps(value, cls=qiskit_ibm_runtime.RuntimeEncoder)


def upstream_value(text: str):
    return json.loads(text, cls=qiskit_ibm_runtime.RuntimeDecoder)


def noise_model() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), ["x"])
    return model


SAME_TEXT = {
    "plain": {"a": [1, 2.5, None, True, "é"], "n": [float("nan"), float("inf")]},
    "int keys": {1: {2: 3}},
    "complex": 1 + 2j,
    "datetime": datetime.datetime(2026, 1, 2, 3, 4),
    "date": datetime.date(2026, 1, 2),
    "array": np.linspace(0, 1, 7),
    "int64": np.int64(3),
    "set": {1, 2},
    "circuit": bell(measured=True),
    "parameter": Parameter("p"),
    "instruction": RXGate(0.5),
    "Pauli": Pauli("XY"),
    "SparsePauliOp": SparsePauliOp(["XX", "ZZ"], [1, 0.5]),
    "Operator": Operator(np.eye(4)),
    "spmatrix": sparse.csr_matrix(np.eye(3)),
    "noise model": noise_model(),
}


@pytest.mark.parametrize("value", SAME_TEXT.values(), ids=SAME_TEXT.keys())
def test_the_text_is_upstreams(value):
    if isinstance(value, RXGate):  # its carrier circuit has a counted name
        assert type(decode(encode(value))) is RXGate
        return
    if isinstance(value, sparse.spmatrix):  # a zip with the time in it
        assert upstream_value(encode(value)).toarray().tolist() == value.toarray().tolist()
        return
    assert encode(value) == upstream_text(value)


def test_results_of_primitives_come_back():
    sampled = StatevectorSampler(seed=1).run([bell(measured=True)], shots=64).result()
    bare = bell()
    estimated = StatevectorEstimator().run([(bare, ["ZZ", "XX"])]).result()

    back = decode(encode({"sampled": sampled, "estimated": estimated}))

    assert back["sampled"][0].data.meas.get_counts() == sampled[0].data.meas.get_counts()
    assert back["estimated"][0].data.evs.tolist() == estimated[0].data.evs.tolist()


@pytest.mark.filterwarnings("ignore:from_dict has been deprecated:DeprecationWarning")
def test_what_upstream_knows_and_we_do_not_is_left_to_it():
    model = noise_model()
    assert decode(encode(model)) == model


def test_upstream_writes_null_for_a_function_and_refuses_unknown_objects():
    # Our refusals are compared with these; see test_refusals.py.
    with pytest.warns(UserWarning, match="will be set to None"):
        assert upstream_text(len) == "null"
    with pytest.raises(TypeError, match="not JSON serializable"):
        upstream_text(object())


def test_an_element_of_a_vector_is_readable_by_upstream_as_a_parameter():
    element = ParameterVector("v", 2)[1]
    assert upstream_value(encode(element)).name == "v[1]"


def test_an_array_of_objects_is_readable_by_upstream():
    array = np.array([1, 2j], dtype=object)
    assert upstream_value(encode(array)).tolist() == [1, 2j]


def test_the_seams_find_the_installed_version():
    assert isinstance(seams.upstream_encoder(), qiskit_ibm_runtime.RuntimeEncoder)
    assert isinstance(seams.upstream_decoder(), qiskit_ibm_runtime.RuntimeDecoder)


def test_an_image_without_qiskit_ibm_runtime_encodes_all_but_its_types(monkeypatch):
    monkeypatch.setattr(seams, "_HOMES", ("no_such_package",))
    seams.upstream_encoder.cache_clear()
    seams.upstream_decoder.cache_clear()
    try:
        value = [np.arange(3), bell(measured=True), SparsePauliOp("Z"), 1j]
        back = decode(encode(value))
        assert back[1:] == value[1:]
        assert decode('{"__type__": "BitArray", "__value__": 1}') == {
            "__type__": "BitArray",
            "__value__": 1,
        }
    finally:
        seams.upstream_encoder.cache_clear()
        seams.upstream_decoder.cache_clear()


def test_the_seams_ask_upstream_for_angles_that_no_device_takes():
    angle = Parameter("angle")
    circuit = QuantumCircuit(2)
    circuit.rzz(angle, 0, 1)
    good, bad = (EstimatorPub.coerce((circuit, "ZZ", [[value]])) for value in (0.5, -0.5))
    assert seams.rzz_fault(good) is None
    assert "range [0, pi/2]" in seams.rzz_fault(bad)
