"""The names of qiskit-ibm-runtime that this package uses, wherever each version defines them.

All are looked up by name when first needed: importing qiskit-ibm-runtime takes a second or more
(measured: 1.0 s warm, 4 s cold, compared with 0.4 s and 1.1 s for Qiskit alone), and an image may
not contain it at all.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import importlib
import json
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

# The package exports the names in all versions from 0.11 to 0.51. The modules are a fallback for
# versions that stop exporting them: `json` since 0.48, `utils.json` before.
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
    """Return an encoder of qiskit-ibm-runtime, or None if that is not installed."""
    encoder = _find("RuntimeEncoder")
    return None if encoder is None else encoder()


@functools.cache
def upstream_decoder() -> Any | None:
    """Return a decoder of qiskit-ibm-runtime, or None if that is not installed.

    The codec calls its `object_hook(dict)`.
    """
    decoder = _find("RuntimeDecoder")
    return None if decoder is None else decoder()


def account_manager() -> Any:
    """Return `AccountManager`, which reads and writes Qiskit's file of saved accounts."""
    return importlib.import_module("qiskit_ibm_runtime.accounts").AccountManager


def is_account(saved: Any) -> bool:
    """Return whether an entry of the file of saved accounts is one that Qiskit can read."""
    kind = importlib.import_module("qiskit_ibm_runtime.accounts").Account
    try:
        kind.from_saved_format(copy.deepcopy(saved))
    except Exception:  # noqa: BLE001 - an entry may have any content
        return False
    return isinstance(saved.get("channel"), str)


def account_file() -> str:
    """Return the path of Qiskit's file of saved accounts."""
    management = importlib.import_module("qiskit_ibm_runtime.accounts.management")
    return management._DEFAULT_ACCOUNT_CONFIG_JSON_FILE


def account_errors() -> tuple[type[Exception], ...]:
    """Return the errors of `account_manager` for a missing, invalid or already saved account."""
    exceptions = importlib.import_module("qiskit_ibm_runtime.accounts.exceptions")
    return (exceptions.AccountsError,)


def saved_proxies(proxies: Mapping[str, Any] | None) -> Any | None:
    """Return proxies in the form that `account_manager` saves."""
    configuration = importlib.import_module("qiskit_ibm_runtime.proxies").ProxyConfiguration
    return None if proxies is None else configuration(**proxies)


def backend_configuration(raw: Mapping[str, Any], *, fractional: bool = False) -> Any | None:
    """Return a backend's configuration as an object; None if it cannot be read.

    As in IBM's client, fractional gates of devices are left out unless requested.
    """
    decoder = importlib.import_module("qiskit_ibm_runtime.utils.backend_decoder")
    return decoder.configuration_from_server_data(  # it changes its argument
        copy.deepcopy(dict(raw)), use_fractional_gates=_fractional_gates(raw, fractional)
    )


def backend_properties(
    raw: Mapping[str, Any], configuration: Mapping[str, Any], *, fractional: bool = False
) -> Any | None:
    """Return a backend's calibration as an object; None for an ideal backend."""
    if not raw:
        return None
    decoder = importlib.import_module("qiskit_ibm_runtime.utils.backend_decoder")
    return decoder.properties_from_server_data(
        copy.deepcopy(dict(raw)), use_fractional_gates=_fractional_gates(configuration, fractional)
    )


def backend_status(name: str, raw: Mapping[str, Any]) -> Any:
    """Return a backend's status as an object."""
    return importlib.import_module("qiskit_ibm_runtime.models").BackendStatus(
        backend_name=name,
        backend_version=raw.get("backend_version", ""),
        operational=raw.get("state", False),
        pending_jobs=raw.get("length_queue", 0),
        status_msg=raw.get("status", ""),
    )


def backend_target(configuration: Any, properties: Any | None) -> Any:
    """Return the transpiler's target for a backend."""
    converter = importlib.import_module("qiskit_ibm_runtime.utils.backend_converter")
    if getattr(configuration, "simulator", False):
        # Aer's instructions without a gate in Qiskit are left out; the converter would warn.
        gates = importlib.import_module("qiskit.circuit.library.standard_gates")
        known = gates.get_standard_gate_name_mapping()
        configuration = copy.copy(configuration)
        configuration.basis_gates = [gate for gate in configuration.basis_gates if gate in known]
    return converter.convert_to_target(configuration=configuration, properties=properties)


def rzz_fault(pub: Any) -> str | None:
    """Describe an rzz angle in a PUB that no device accepts; None if all are valid."""
    utils = importlib.import_module("qiskit_ibm_runtime.utils.utils")
    return utils.is_valid_rzz_pub(pub) or None


def _fractional_gates(configuration: Mapping[str, Any], asked: bool) -> bool | None:
    return None if configuration.get("simulator") else asked


def upstream_version() -> str:
    """Return the version of the installed qiskit-ibm-runtime."""
    return importlib.import_module("qiskit_ibm_runtime").__version__


def primitive_inputs(primitive: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a primitive as its client sends them with the PUBs.

    Raises:
        ValueError: An option is unknown or has an invalid value.
    """
    module = importlib.import_module("qiskit_ibm_runtime.options")
    kind = {"sampler": module.SamplerOptions, "estimator": module.EstimatorOptions}[primitive]
    merge = importlib.import_module("qiskit_ibm_runtime.options.utils").merge_options_v2
    asked = kind(**merge(kind(), dict(options)))
    return kind._get_program_inputs(dataclasses.asdict(asked))


def first_fault(exc: Exception) -> str:
    """Return the first fault that the models of qiskit-ibm-runtime found, as one sentence.

    Their errors are pydantic's, which have several lines and repeat the input. Pydantic is not
    imported here: an image may not contain it.
    """
    faults = getattr(exc, "errors", None)
    if faults is None:
        return f"{str(exc).rstrip('.')}."
    fault = faults(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].rstrip('.')}."


@functools.cache
def option_names() -> frozenset[str]:
    """Return the paths of the options of all primitives; empty if they cannot be listed."""
    names: set[str] = set()
    for home in ("qiskit_ibm_runtime.options", "qiskit_ibm_runtime.options_models"):
        with contextlib.suppress(ImportError):
            module = importlib.import_module(home)
            for primitive in ("SamplerOptions", "EstimatorOptions", "ExecutorOptions"):
                kind = getattr(module, primitive, None)
                names.update(() if kind is None else _option_names(kind, ""))
    return frozenset(names)


def _option_names(kind: Any, section: str) -> Iterator[str]:
    """Yield the paths of the options below a section, which is a dataclass or a pydantic model."""
    for name, hint in typing.get_type_hints(kind).items():
        if name.startswith("_") or name == "model_config":
            continue
        sections = [
            part
            for part in (hint, *typing.get_args(hint))
            if dataclasses.is_dataclass(part) or hasattr(part, "model_fields")
        ]
        if sections:
            for part in sections:
                yield from _option_names(part, f"{section}{name}.")
        elif typing.get_origin(hint) is not typing.ClassVar:
            yield f"{section}{name}"


def executor_converter() -> Any | None:
    """Return the converter of quantum programs to job inputs, or None if unavailable.

    Its `encoder(program, options)` returns a pydantic model.
    """
    if executor_decoder() is None:  # 0.47 to 0.50 have quantum programs of other classes
        return None
    try:
        module = importlib.import_module("qiskit_ibm_runtime.quantum_program.params_converters")
        version = importlib.import_module("qiskit_ibm_runtime").Executor._SCHEMA_VERSION
    except (ImportError, AttributeError):
        return None
    return module.QUANTUM_PROGRAM_PARAMS_CONVERTERS[version]


def executor_decoder() -> Any | None:
    """Return the decoder of results of quantum programs, or None if unavailable.

    Its `decode(text)` returns a `QuantumProgramResult`.
    """
    try:
        module = importlib.import_module("qiskit_ibm_runtime.decoders.executor.decoder")
    except ImportError:
        return None
    return module.ExecutorResultDecoder


@functools.cache
def qpy_writer() -> Callable[..., None]:
    """Return the function that writes a circuit as QPY, with the arguments of `qiskit.qpy.dump`.

    Clients of qiskit-ibm-runtime before 0.16 read circuits with the QPY of qiskit-ibm-provider,
    which ends at version 9; Qiskit before 1.0 in the same environment writes newer versions. In
    such an environment the provider's function is used: every Qiskit can read its output.
    """
    import qiskit
    from qiskit import qpy

    if int(qiskit.__version__.partition(".")[0]) == 0:
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module("qiskit_ibm_provider.qpy").dump
    return qpy.dump
