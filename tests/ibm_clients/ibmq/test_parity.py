"""docs/reference/parity.md leaves out no method of qiskit-ibmq-provider."""

from __future__ import annotations

from parity import described, installed


def test_the_page_has_what_qiskit_ibmq_provider_has() -> None:
    assert described("Q") == installed("Q")
