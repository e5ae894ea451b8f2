"""One short text for what is sent: equal for equal values, wherever and whenever they were built.

The encoded inputs themselves cannot tell two calls apart or alike: circuits carry names that are
counted up in each process, parameters carry random ids, and QPY names copies of custom gates at
random. Here the same values are written in a form that leaves such things out. It is hashed and
never read back.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from typing import Any

from prefect_qiskit_runtime.codec._array_form import array_form
from prefect_qiskit_runtime.codec._encoder import RuntimeEncoder

__all__ = ["fingerprint"]

FORM_VERSION = 2
"""Raised when equal values get another form: keys made before are then not found again."""


def fingerprint(value: Any) -> str:
    """Return what identifies a value: 64 hexadecimal digits.

    Left out are names of circuits, of quantum registers and of classical registers that Qiskit
    has named, ids of parameters and variables, metadata of circuits, and the order of mappings.
    Floating-point numbers count to the last bit, those inside of parameter expressions to about
    ten digits. The value is not changed.

    Args:
        value: Anything that `encode` takes.

    Raises:
        TypeError: Some part of the value has no encoding.
    """
    form = [FORM_VERSION, value]
    try:
        text = json.dumps(form, cls=_FormEncoder, sort_keys=True)
    except TypeError:
        # Keys of several kinds have no order; that in which they were put in has to do.
        text = json.dumps(form, cls=_FormEncoder)
    return hashlib.sha256(text.encode()).hexdigest()


class _FormEncoder(RuntimeEncoder):
    """Writes values without what differs between equal ones."""

    def default(self, o: Any) -> Any:
        """Return the form of an object that JSON has none for."""
        if "numpy" in sys.modules:
            import numpy as np

            if isinstance(o, np.ndarray) and o.dtype != object:
                return array_form(o)
        if "qiskit.circuit" in sys.modules:
            from prefect_qiskit_runtime.codec import _circuit_form

            form = _circuit_form.form_of(o, _FormEncoder)
            if form is not None:
                return form
        encoded = super().default(o)
        # A set of objects comes in the order of their memory.
        if isinstance(encoded, Mapping) and encoded.get("__type__") == "set":
            return {"__type__": "set", "__value__": sorted(map(fingerprint, encoded["__value__"]))}
        return encoded
