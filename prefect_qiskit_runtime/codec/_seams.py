"""The names of IBM's packages that the codec touches, wherever their versions keep them.

All are found by name when first needed: importing qiskit-ibm-runtime takes a second or more
(measured: 1.0 s warm, 4 s cold, against 0.4 s and 1.1 s for Qiskit alone), and an image need
not have it at all.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
from collections.abc import Callable
from typing import Any

# The package itself names them in all versions from 0.11 to 0.51. The modules are for versions
# that would stop doing so: `json` since 0.48, `utils.json` before.
_HOMES = ("qiskit_ibm_runtime", "qiskit_ibm_runtime.json", "qiskit_ibm_runtime.utils.json")


def _find(name: str) -> Any | None:
    for home in _HOMES:
        try:
            module = importlib.import_module(home)
        except ModuleNotFoundError:
            continue
        found = getattr(module, name, None)
        if found is not None:
            return found
    return None


@functools.cache
def upstream_encoder() -> json.JSONEncoder | None:
    """Return an encoder of the installed qiskit-ibm-runtime, None where it is not installed."""
    encoder = _find("RuntimeEncoder")
    return None if encoder is None else encoder()


@functools.cache
def upstream_decoder() -> Any | None:
    """Return a decoder of the installed qiskit-ibm-runtime, None where it is not installed.

    Its `object_hook(dict)` is what the codec calls.
    """
    decoder = _find("RuntimeDecoder")
    return None if decoder is None else decoder()


def executor_converter() -> Any | None:
    """Return what turns quantum programs into the inputs of a job, None where there is no such.

    Its `encoder(program, options)` returns a pydantic model.
    """
    try:
        module = importlib.import_module("qiskit_ibm_runtime.quantum_program.params_converters")
        version = importlib.import_module("qiskit_ibm_runtime").Executor._SCHEMA_VERSION
    except (ImportError, AttributeError):
        return None
    return module.QUANTUM_PROGRAM_PARAMS_CONVERTERS[version]


def executor_decoder() -> Any | None:
    """Return the decoder of results of quantum programs, None where there is no such.

    Its `decode(text)` returns a `QuantumProgramResult`.
    """
    try:
        module = importlib.import_module("qiskit_ibm_runtime.decoders.executor.decoder")
    except ImportError:
        return None
    return module.ExecutorResultDecoder


@functools.cache
def qpy_writer() -> Callable[..., None]:
    """Return what writes a circuit as QPY, with the arguments of `qiskit.qpy.dump`.

    Clients of qiskit-ibm-runtime before 0.16 read circuits with the QPY of qiskit-ibm-provider,
    which ends at version 9; Qiskit before 1.0 in the same environment writes newer ones. So in
    such an environment it is theirs that writes: every Qiskit reads that.
    """
    import qiskit
    from qiskit import qpy

    if int(qiskit.__version__.partition(".")[0]) == 0:
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module("qiskit_ibm_provider.qpy").dump
    return qpy.dump
