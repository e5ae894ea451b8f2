"""The programs of the example flows, called in this process."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from prefect_qiskit_runtime.program import ProgramBackend, UserMessenger

FLOWS = Path(__file__).parents[2] / "flows"


class RecordingMessenger(UserMessenger):
    """A messenger whose messages, encoded as in a job, are kept."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        super().__init__(sink=lambda text, _final: self.messages.append(json.loads(text)))


def _load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def vqe() -> ModuleType:
    """The program `flows/programs/vqe.py`."""
    return _load(FLOWS / "programs" / "vqe.py", "vqe_program")


@pytest.fixture(scope="session")
def hello_world() -> ModuleType:
    """The program `flows/programs/hello_world.py`."""
    return _load(FLOWS / "programs" / "hello_world.py", "hello_world_program")


@pytest.fixture(scope="session")
def molecules() -> ModuleType:
    """The package `flows/molecules`."""
    return _load(FLOWS / "molecules" / "__init__.py", "molecules")


@pytest.fixture(scope="session")
def metadata() -> Callable[[str], dict[str, Any]]:
    """Read the metadata of a program."""
    return lambda name: json.loads((FLOWS / "programs" / f"{name}.json").read_text())


@pytest.fixture
def messenger() -> RecordingMessenger:
    """A messenger that keeps what it is given."""
    return RecordingMessenger()


@pytest.fixture(scope="session")
def ideal() -> ProgramBackend:
    """The ideal backend."""
    return ProgramBackend.from_name("aer_simulator")


@pytest.fixture(scope="session")
def noisy() -> ProgramBackend:
    """A backend with the noise of a device of five qubits."""
    return ProgramBackend.from_name("fake_manila")


@pytest.fixture(scope="session")
def inputs_for(molecules: ModuleType) -> Iterator[Callable[..., dict[str, Any]]]:
    """Build the inputs of the VQE of a molecule."""

    def build(name: str, **others: Any) -> dict[str, Any]:
        molecule = molecules.load_molecule(name)
        return {
            "hamiltonian": molecule.paulis,
            "constant_energy": molecule.constant_energy,
            "ansatz": {
                "hartree_fock_bitstring": molecule.hartree_fock_bitstring,
                "excitation_generators": molecule.excitation_generators,
            },
            **others,
        }

    yield build
