"""Texts that a program of another user could return, each larger or slower than it looks."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter, ParameterVector


def tagged(tag: str, value: Any, **fields: Any) -> str:
    return json.dumps({"__type__": tag, "__value__": value, **fields})


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode()


def zeros(size: int) -> str:
    """Compress zeros without having them in memory."""
    stream = zlib.compressobj(9)
    parts = [stream.compress(bytes(2**20)) for _ in range(size // 2**20)]
    return base64.b64encode(b"".join([*parts, stream.flush()])).decode()


def npy(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def described(descr: str, shape: tuple[int, ...]) -> bytes:
    return npy(f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}}}\n")


def settings(name: str, module: str = "qiskit.quantum_info.operators", **value: Any) -> str:
    return tagged("settings", value, __module__=module, __class__=name)


def as_qpy(circuit: QuantumCircuit, version: int = 17) -> bytes:
    file = io.BytesIO()
    qpy.dump(circuit, file, version=version)
    return file.getvalue()


def circuit_text(data: bytes) -> str:
    return tagged("QuantumCircuit", packed(data))


def changed(data: bytes, before: bytes, after: bytes) -> bytes:
    """Replace bytes that appear once."""
    assert data.count(before) == 1, data.count(before)
    return data.replace(before, after)


def with_bits(count: int) -> str:
    """A circuit that claims to have many qubits."""
    circuit = QuantumCircuit(name="many")
    circuit.add_bits(QuantumCircuit(77).qubits)
    return circuit_text(
        changed(as_qpy(circuit), struct.pack("!II", 77, 0), struct.pack("!II", count, 0))
    )


def with_instructions(count: int) -> str:
    circuit = QuantumCircuit(1, name="long")
    for _ in range(77):
        circuit.x(0)
    before = struct.pack("!QI", 77, 0)
    return circuit_text(changed(as_qpy(circuit), before, struct.pack("!QI", count, 0)))


def with_vector(size: int) -> str:
    circuit = QuantumCircuit(1)
    circuit.rz(ParameterVector("theta", 777)[0], 0)
    before = struct.pack("!HQ", 5, 777)
    data = as_qpy(circuit)
    assert before in data
    return circuit_text(data.replace(before, struct.pack("!HQ", 5, size)))


def with_gate(name: bytes, *, is_wide: bool = False) -> str:
    """A circuit that names another attribute of Qiskit's modules in place of a gate."""
    circuit = QuantumCircuit(1)
    circuit.rx(3.5, 0)
    data = as_qpy(circuit)
    position = data.index(b"RXGate")
    start = position - struct.calcsize("!HHHIIBHqII")
    (size,) = struct.unpack_from("!H", data, start)
    assert size == 6
    data = data[:start] + struct.pack("!H", len(name)) + data[start + 2 :]
    data = data.replace(b"RXGate", name)
    if is_wide:
        number = b"f" + struct.pack("!Q", 8) + struct.pack("<d", 3.5)
        data = changed(data, number, b"i" + struct.pack("!Q", 8) + struct.pack("<q", 10**12))
    return circuit_text(data)


def deep_expression(operations: int) -> str:
    """A circuit whose angle is a sine of a sine of a sine …"""
    x = Parameter("x")
    circuit = QuantumCircuit(1)
    circuit.rz(x.sin().sin().sin(), 0)
    data = as_qpy(circuit)
    # The last operation is repeated; the sizes around the expression grow with it.
    start = data.index(b"e" + struct.pack("!Q", 0)[:1], data.index(b"RZGate")) + 1
    (size,) = struct.unpack_from("!Q", data, start)
    inner = start + 8
    symbols, length = struct.unpack_from("!QQ", data, inner)
    last = data[inner + 16 + length - 35 : inner + 16 + length]
    more = last * operations
    return circuit_text(
        data[:start]
        + struct.pack("!QQQ", size + len(more), symbols, length + len(more))
        + data[inner + 16 : inner + 16 + length]
        + more
        + data[inner + 16 + length :]
    )


def sparse_bomb(size: int) -> str:
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("data.npy", "w", force_zip64=True) as member,
    ):
        member.write(described("|b1", (size,)))
        for _ in range(size // 2**20):
            member.write(bytes(2**20))
    return tagged("spmatrix", base64.b64encode(file.getvalue()).decode())


def sparse_outside() -> str:
    """A matrix whose indices are outside of it: compiled code would read and write there."""
    file = io.BytesIO()
    np.savez(
        file,
        indices=np.array([10**6], np.int32),
        indptr=np.array([0, 1], np.int32),
        format=np.array(b"csr"),
        shape=np.array([1, 1]),
        data=np.array([1.0]),
    )
    return tagged("spmatrix", base64.b64encode(file.getvalue()).decode())


def many_sparse_labels() -> str:
    return settings("PauliList", data=["X" * 10**6, *["X"] * 10**5])


HOSTILE: dict[str, Callable[[], str]] = {
    "3 GB of zeros as an array": lambda: tagged("ndarray", zeros(3 * 2**30)),
    "3 GB of zeros as a circuit": lambda: tagged("QuantumCircuit", zeros(3 * 2**30)),
    "3 GB of zeros as an instruction": lambda: tagged("Instruction", zeros(3 * 2**30)),
    "a sparse matrix of 3 GB": lambda: sparse_bomb(3 * 2**30),
    "a sparse matrix with indices outside of it": sparse_outside,
    "an array of 10^15 numbers": lambda: tagged("ndarray", packed(described("<f8", (10**15,)))),
    "an array of nothing, 10^15 times": lambda: tagged(
        "ndarray", packed(described("|S0", (10**15,)))
    ),
    "an array of objects": lambda: tagged("ndarray", packed(described("|O", (1,)) + b"cos\n")),
    "an array that is an archive": lambda: tagged("ndarray", packed(b"PK\x03\x04" + bytes(100))),
    "a list of 10^10 objects": lambda: tagged("ndarray", [1], dtype="object", shape=[10**10]),
    "texts as long as the longest": lambda: tagged("ndarray", ["x" * 10**6, *["x"] * 10**5]),
    "a state that is simulated": lambda: settings(
        "Statevector", data=json.loads(circuit_text(as_qpy(QuantumCircuit(28))))
    ),
    "an operator of a Pauli of 20 qubits": lambda: settings(
        "Operator", data=json.loads(settings("Pauli", data="Z" * 20))
    ),
    "a density matrix of a vector": lambda: settings(
        "DensityMatrix", data=json.loads(tagged("ndarray", packed(big_vector())))
    ),
    "labels as long as the longest": many_sparse_labels,
    "a Clifford of 4096 qubits": lambda: settings(
        "Clifford", data=json.loads(tagged("ndarray", packed(big_bits())))
    ),
    "a circuit of 4 billion qubits": lambda: with_bits(2**32 - 2),
    "a circuit of 2^60 instructions": lambda: with_instructions(2**60),
    "a vector of 10^12 parameters": lambda: with_vector(10**12),
    "a function in place of a gate": lambda: with_gate(b"quantum_volume", is_wide=True),
    "a circuit in place of a gate": lambda: with_gate(b"QuantumVolume"),
    "a module in place of a gate": lambda: with_gate(b"standard_gates"),
    "a sum of 10^12 qubits": lambda: with_gate(b"WeightedSumGate", is_wide=True),
    "an expression of 100,000 operations": lambda: deep_expression(100_000),
    "a date of 1 MB": lambda: tagged("datetime", "1" * 10**6),
    "a number of 10,000 digits": lambda: "9" * 10_000,
    "a list that is 600 deep": lambda: "[" * 600 + "]" * 600,
    "a list that is 100,000 deep": lambda: "[" * 100_000 + "]" * 100_000,
}


def big_vector() -> bytes:
    return described("<c16", (2**16,)) + bytes(2**20)


def big_bits() -> bytes:
    return described("|b1", (8192, 8192)) + bytes(8192**2)
