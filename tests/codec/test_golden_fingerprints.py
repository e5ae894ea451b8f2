"""The same call has the same fingerprint in each release and with each Qiskit.

A key that changes makes a call that runs again submit a second job. If one of these fails after a
change of the form on purpose, raise `FORM_VERSION` and write the new fingerprints here.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from prefect_qiskit_runtime.codec import decode, encode, fingerprint

_HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("golden_values", _HERE / "golden_values.py")
assert _spec is not None and _spec.loader is not None
golden_values = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(golden_values)

GOLDEN: dict[str, str] = json.loads((_HERE / "golden_fingerprints.json").read_text())

# Encoding replaces gates that QPY cannot bring back, so these arrive in another form.
UNROLLED = frozenset({"gates of the library"})


def test_each_golden_value_has_a_fingerprint():
    assert GOLDEN.keys() == golden_values.VALUES.keys()


@pytest.mark.parametrize("name", GOLDEN)
def test_a_fingerprint_is_what_it_was_in_each_release(name):
    assert fingerprint(golden_values.VALUES[name]()) == GOLDEN[name]


@pytest.mark.parametrize("name", sorted(GOLDEN.keys() - UNROLLED))
def test_a_value_that_has_travelled_has_the_same_fingerprint(name):
    value = golden_values.VALUES[name]()

    assert fingerprint(decode(encode({"value": value}))) == fingerprint(
        decode(encode(decode(encode({"value": value}))))
    )
    if name not in ("PUBs of the sampler", "PUBs of the estimator", "arrays", "observable"):
        assert fingerprint(decode(encode(value))) == GOLDEN[name]


def test_the_fingerprint_of_a_circuit_is_that_of_the_circuit_as_written():
    circuit = golden_values.library()
    before = fingerprint(circuit)

    encode(circuit)

    assert fingerprint(circuit) == before == GOLDEN["gates of the library"]
