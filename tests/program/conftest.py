"""Backends as programs have them: one without noise and one of a device."""

from __future__ import annotations

import pytest

from prefect_qiskit_runtime.program import ProgramBackend


@pytest.fixture
def ideal() -> ProgramBackend:
    return ProgramBackend.from_name("aer_simulator")


@pytest.fixture(scope="module")
def noisy() -> ProgramBackend:
    return ProgramBackend.from_name("fake_manila")
