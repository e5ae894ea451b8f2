"""docs/reference/parity.md leaves out no method of the client that is installed here."""

from __future__ import annotations

from importlib.metadata import version

from parity import LETTERS, described, installed


def test_the_page_has_what_qiskit_ibm_runtime_has() -> None:
    letter = LETTERS[".".join(version("qiskit_ibm_runtime").split(".")[:2])]
    assert described(letter) == installed(letter)
