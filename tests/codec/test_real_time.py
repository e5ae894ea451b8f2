"""A delay arrives as long as it was, whatever its unit and wherever it is."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from qiskit import QuantumCircuit, qpy, transpile
from qiskit.circuit import Delay, Duration, Parameter, ParameterVector
from qiskit.circuit.classical import expr
from qiskit_aer import AerError, AerSimulator

from prefect_qiskit_runtime.codec import _qpy, decode, encode, fingerprint
from prefect_qiskit_runtime.codec.circuit_walk import walk
from prefect_qiskit_runtime.errors import EncodingError

UNITS = ("s", "ms", "us", "ns", "ps", "dt")
TIME = Parameter("time")
TIMES = ParameterVector("times", 2)


def waiting(duration: Any, unit: str = "us") -> QuantumCircuit:
    circuit = QuantumCircuit(2, 1)
    circuit.x(0)
    circuit.delay(duration, 1, unit)
    return circuit


def in_a_branch(duration: Any, unit: str = "us") -> QuantumCircuit:
    circuit = QuantumCircuit(2, 1)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.y(1)
    with circuit.while_loop((circuit.clbits[0], 1)):
        with circuit.if_test((circuit.clbits[0], 0)) as otherwise:
            circuit.x(0)
        with otherwise:
            circuit.delay(duration, 1, unit)
    return circuit


def in_an_instruction(duration: Any, unit: str = "us") -> QuantumCircuit:
    circuit = QuantumCircuit(3, 1)
    inner = waiting(duration, unit).to_instruction(label="wait")
    middle = QuantumCircuit(2, 1)
    middle.append(inner, [1, 0], [0])
    circuit.append(middle.to_instruction(), [0, 2], [0])
    return circuit


def in_a_box(duration: Any, unit: str = "us") -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    with circuit.box():
        circuit.delay(duration, 1, unit)
    return circuit


PLACES: dict[str, Callable[..., QuantumCircuit]] = {
    "top": waiting,
    "branch": in_a_branch,
    "instruction": in_an_instruction,
    "box": in_a_box,
}


def delays(circuit: QuantumCircuit) -> list[tuple[Any, str]]:
    return [
        (visit.operation.duration, visit.operation.unit)
        for visit in walk(circuit, definitions=True)
        if visit.name == "delay"
    ]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("unit", UNITS)
def test_a_delay_keeps_its_unit_wherever_it_is(place, unit):
    circuit = PLACES[place](160, unit)

    arrived = decode(encode(circuit))

    assert delays(arrived) == [(160, unit)]
    assert fingerprint(arrived) == fingerprint(circuit)


@pytest.mark.parametrize("place", PLACES)
def test_a_fraction_of_a_unit_arrives(place):
    assert delays(decode(encode(PLACES[place](1.5, "us")))) == [(1.5, "us")]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("duration", [TIME, 2 * TIME, TIMES[1]], ids=str)
def test_a_delay_of_a_parameter_can_be_bound_where_it_arrives(duration, unit):
    circuit = in_a_branch(duration, unit)

    arrived = decode(encode(circuit))

    assert arrived.parameters == circuit.parameters
    values = [8] * circuit.num_parameters
    assert delays(arrived.assign_parameters(values)) == delays(circuit.assign_parameters(values))


def test_a_delay_that_grows_with_a_loop_arrives():
    circuit = QuantumCircuit(1)
    with circuit.for_loop((10, 20)) as step:
        circuit.delay(step, 0, "ns")

    [(duration, unit)] = delays(decode(encode(circuit)))

    assert (duration, unit) == (step, "ns")


@pytest.mark.parametrize(
    "duration",
    [Duration.us(1.5), Duration.dt(3), Duration.s(2.0), Duration.ns(7.0)],
    ids=str,
)
def test_a_duration_arrives_with_its_unit(duration):
    circuit = QuantumCircuit(1)
    circuit.delay(expr.lift(duration), 0)
    with circuit.box(duration=expr.add(duration, duration)):
        circuit.x(0)

    arrived = decode(encode(circuit))

    assert arrived == circuit
    assert arrived.data[0].operation.duration.value == duration


def test_a_stretch_arrives():
    circuit = QuantumCircuit(1)
    circuit.delay(expr.add(circuit.add_stretch("wide"), Duration.us(2.0)), 0)

    assert decode(encode(circuit)) == circuit


@pytest.mark.parametrize("unit", UNITS[:5])
def test_a_box_keeps_its_duration(unit):
    circuit = QuantumCircuit(1)
    with circuit.box(duration=1.5, unit=unit):
        circuit.x(0)

    operation = decode(encode(circuit)).data[0].operation

    assert (operation.duration, operation.unit) == (1.5, unit)


def test_a_box_of_half_a_sample_is_refused():
    circuit = QuantumCircuit(1)
    with circuit.box(duration=1.5, unit="dt"):
        circuit.x(0)

    with pytest.raises(
        EncodingError,
        match=r"^Cannot encode \$\.pubs\[0\]: .* the duration of instruction 0 \('box'\) is 1\.5 "
        r"dt: durations in dt are whole numbers\.$",
    ):
        encode({"pubs": [circuit]})


@pytest.mark.parametrize("version", [13, 17])
def test_units_survive_old_and_new_qpy(version, monkeypatch):
    monkeypatch.setattr(_qpy, "_NEWEST_QPY_VERSION", version)

    assert delays(decode(encode(in_a_branch(160)))) == [(160, "us")]


def test_a_stretch_in_qpy_that_has_none_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(_qpy, "_NEWEST_QPY_VERSION", 13)
    circuit = QuantumCircuit(1)
    circuit.delay(circuit.add_stretch("wide"), 0)

    with pytest.raises(
        EncodingError, match=r"duration of instruction 0 \('delay'\) is an expression or a stretch"
    ):
        encode(circuit)


def test_a_reader_that_does_not_know_carried_delays_cannot_run_them():
    data = json.loads(encode(waiting(160)))["__value__"]
    [circuit] = qpy.load(io.BytesIO(zlib.decompress(base64.b64decode(data))))

    carried = circuit.data[1].operation
    assert (carried.name, carried.params) == ("prefect_qiskit_runtime.delay.us", [160])
    assert carried.definition is None
    with pytest.raises(AerError, match=r"unknown instruction: prefect_qiskit_runtime\.delay\.us"):
        AerSimulator().run(circuit).result()
    with pytest.raises(Exception, match=r"prefect_qiskit_runtime\.delay\.us"):
        transpile(circuit, basis_gates=["x", "delay"])


def test_a_label_of_a_delay_arrives():
    circuit = QuantumCircuit(1)
    delay = Delay(3, "us")
    delay.label = "idle"
    circuit.append(delay, [0])

    assert decode(encode(circuit)).data[0].operation.label == "idle"


def test_a_circuit_without_delays_is_sent_as_the_object_that_it_is():
    from prefect_qiskit_runtime.codec._wire_circuit import to_wire

    circuit = QuantumCircuit(2, 1)
    circuit.h(0)
    circuit.delay(160, 0, "dt")
    circuit.measure(0, 0)

    assert to_wire(circuit) is circuit


def test_equal_durations_have_one_fingerprint_however_the_number_is_written():
    # Qiskit 2.3 keeps 160, later ones make it 160.0.
    assert fingerprint(waiting(160)) == fingerprint(waiting(160.0))
    assert fingerprint(waiting(160)) != fingerprint(waiting(160, "ns"))
