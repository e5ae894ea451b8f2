"""The walk through circuits finds what is inside of blocks, boxes and definitions."""

import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ControlModifier, InverseModifier
from qiskit.circuit.annotated_operation import AnnotatedOperation
from qiskit.circuit.library import AndGate

from prefect_qiskit_runtime.codec.circuit_walk import (
    blocks_of,
    describe,
    operation_names,
    places,
    walk,
)


def _nested() -> QuantumCircuit:
    circuit = QuantumCircuit(3, 2)
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)) as otherwise:
        circuit.x(2)
        with circuit.for_loop(range(2)):
            circuit.reset(1)
    with otherwise:
        circuit.delay(10, 2, "us")
    with circuit.switch(circuit.clbits[0]) as case, case(0):
        circuit.y(1)
    with circuit.while_loop((circuit.clbits[1], 1)):
        circuit.z(0)
        circuit.break_loop()
    with circuit.box():
        circuit.cz(1, 2)
    return circuit


def test_walk_yields_what_is_in_blocks_and_boxes_after_the_instruction_around_it() -> None:
    names = [visit.name for visit in walk(_nested())]

    assert names == [
        *("h", "measure", "if_else", "x", "for_loop", "reset", "delay"),
        *("switch_case", "y", "while_loop", "z", "break_loop", "box", "cz"),
    ]


def test_each_visit_names_the_circuit_that_its_instruction_is_in() -> None:
    for visit in walk(_nested()):
        assert visit.circuit.data[visit.position] == visit.instruction


def test_qubits_of_a_visit_are_those_of_the_outermost_circuit() -> None:
    qubits = {visit.name: visit.qubits for visit in walk(_nested())}

    assert [qubits[name] for name in ("x", "reset", "delay", "y", "z", "cz")] == [
        (2,), (1,), (2,), (1,), (0,), (1, 2),
    ]  # fmt: skip


def test_a_path_says_in_words_where_an_instruction_is() -> None:
    paths = {visit.name: describe(visit.path) for visit in walk(_nested())}

    assert paths["h"] == "instruction 0 ('h')"
    assert paths["delay"] == "instruction 0 ('delay') in block 1 of instruction 2 ('if_else')"
    assert paths["reset"] == (
        "instruction 0 ('reset') in block 0 of instruction 1 ('for_loop') in block 0 of "
        "instruction 2 ('if_else')"
    )


def _with_definitions() -> QuantumCircuit:
    inner = QuantumCircuit(1, name="inner")
    inner.sx(0)
    outer = QuantumCircuit(2, name="outer")
    outer.append(inner.to_gate(), [1])
    circuit = QuantumCircuit(3)
    circuit.append(outer.to_gate(), [0, 2])
    return circuit


def test_definitions_are_walked_on_request_only() -> None:
    assert operation_names(_with_definitions()) == {"outer"}
    assert operation_names(_with_definitions(), definitions=True) == {"outer", "inner", "sx"}


def test_a_function_decides_which_definitions_are_walked() -> None:
    names = operation_names(
        _with_definitions(), definitions=lambda operation: operation.name == "outer"
    )

    assert names == {"outer", "inner"}


def test_what_is_in_a_definition_is_marked_and_placed() -> None:
    visits = list(walk(_with_definitions(), definitions=True))

    assert [visit.place.in_definition for visit in visits] == [False, True, True]
    assert [visit.qubits for visit in visits] == [(0, 2), (2,), (2,)]
    assert describe(visits[2].path) == (
        "instruction 0 ('sx') in definition of instruction 0 ('inner') in definition of "
        "instruction 0 ('outer')"
    )


def test_a_definition_in_a_block_is_walked() -> None:
    circuit = QuantumCircuit(2, 1)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.append(_with_definitions().data[0].operation, [0, 1])

    assert operation_names(circuit, definitions=True) == {"if_else", "outer", "inner", "sx"}


def test_the_base_of_an_annotated_operation_is_walked_below_its_controls() -> None:
    sub = QuantumCircuit(1, name="sub")
    sub.sx(0)
    annotated = AnnotatedOperation(
        AnnotatedOperation(sub.to_gate(), InverseModifier()), ControlModifier(2)
    )
    circuit = QuantumCircuit(3)
    circuit.append(annotated, [0, 1, 2])

    _, inside = walk(circuit, definitions=True)

    assert (inside.name, inside.qubits) == ("sx", (2,))


def test_what_a_library_gate_is_made_of_is_walked() -> None:
    circuit = QuantumCircuit(3)
    circuit.append(AndGate(2), [0, 1, 2])

    assert operation_names(circuit, definitions=True) == {"and", "ccx"}


@pytest.mark.parametrize("depth", [400])
def test_deep_nesting_does_not_exhaust_the_stack(depth: int) -> None:
    block = QuantumCircuit(1, 1)
    block.x(0)
    for _ in range(depth):
        around = QuantumCircuit(1, 1)
        around.if_test((around.clbits[0], 1), block, [0], [0])
        block = around

    visits = list(walk(block))

    assert len(visits) == depth + 1
    assert len(visits[-1].path) == depth + 1


def test_blocks_are_those_of_control_flow_and_boxes_alone() -> None:
    counts = {visit.name: len(blocks_of(visit.operation)) for visit in walk(_nested())}

    assert {name: count for name, count in counts.items() if count} == {
        "if_else": 2, "for_loop": 1, "switch_case": 1, "while_loop": 1, "box": 1,
    }  # fmt: skip


def test_the_circuit_is_not_changed() -> None:
    circuit, untouched = _nested(), _nested()

    list(walk(circuit, definitions=True))

    assert circuit == untouched


def test_places_are_all_circuits_even_empty_ones() -> None:
    circuit = QuantumCircuit(1, 1)
    with circuit.box():
        circuit.if_test((circuit.clbits[0], 1), QuantumCircuit(1, global_phase=1), [0], [])

    found = list(places(circuit))

    assert [len(place.path) for place in found] == [0, 1, 2]
    assert found[-1].circuit.global_phase == 1
