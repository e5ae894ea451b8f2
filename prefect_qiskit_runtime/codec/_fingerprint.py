"""A short text that identifies the inputs sent: equal for equal values in any process.

The encoded inputs themselves cannot show whether two calls are equal: circuits have names that are
numbered in each process, parameters have random ids, and QPY gives copies of custom gates random
names. Here the values are written in a form without these details, which is hashed and never read
back.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from prefect_qiskit_runtime.codec._array_form import array_form
from prefect_qiskit_runtime.codec._encoder import RuntimeEncoder

__all__ = ["fingerprint"]

FORM_VERSION = 2
"""Increased when the form of values changes: keys made with an earlier version no longer match."""


def fingerprint(value: Any) -> str:
    """Return the fingerprint of a value: 64 hexadecimal digits.

    It ignores the names of circuits, of quantum registers and of classical registers named by
    Qiskit, the ids of parameters and variables, the metadata of circuits, and the order of
    mappings. Floating-point numbers are compared to the last bit, those in parameter expressions to
    about ten digits. The value is not changed.

    Args:
        value: Any value that `encode` accepts.

    Raises:
        TypeError: Some part of the value has no encoding.
    """
    form = [FORM_VERSION, value]
    try:
        text = json.dumps(form, cls=_FormEncoder, sort_keys=True)
    except TypeError:
        # Keys of mixed types cannot be sorted, so the insertion order is kept.
        text = json.dumps(form, cls=_FormEncoder)
    return hashlib.sha256(text.encode()).hexdigest()


class _FormEncoder(RuntimeEncoder):
    """Writes values without the details that differ between equal values."""

    def in_pairs(self, mapping: Mapping[Any, Any]) -> Any:
        """Return the form of a dict with keys that JSON does not have, in any order."""
        pairs = [[fingerprint(key), value] for key, value in mapping.items()]
        return {"__type__": "mapping", "__value__": sorted(pairs, key=itemgetter(0))}

    def _form(self, o: Any) -> Any:
        """Return the form of an object that JSON cannot represent directly."""
        if "numpy" in sys.modules:
            import numpy as np

            if isinstance(o, np.ndarray) and o.dtype != object:
                return array_form(o)
        if "qiskit.circuit" in sys.modules:
            from prefect_qiskit_runtime.codec import _circuit_form

            form = _circuit_form.form_of(o, _FormEncoder)
            if form is not None:
                return form
        encoded = super()._form(o)
        if isinstance(encoded, Mapping) and encoded.get("__type__") == "NoiseModel":
            from prefect_qiskit_runtime.codec.noise_models import without_ids

            return {**encoded, "__value__": without_ids(encoded["__value__"])}
        # The order of a set of objects depends on their memory addresses.
        if isinstance(encoded, Mapping) and encoded.get("__type__") == "set":
            return {"__type__": "set", "__value__": sorted(map(fingerprint, encoded["__value__"]))}
        return encoded
