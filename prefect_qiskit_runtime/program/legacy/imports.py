"""Makes the imports of programs written for older Qiskit packages work.

`qiskit_ibm_runtime.program` was removed in 0.16, and `qiskit.providers.ibmq` no longer exists. If
an image has the real modules, they are used.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_PROGRAM = "prefect_qiskit_runtime.program"
_CODEC = "prefect_qiskit_runtime.codec"
_RUNTIME = "qiskit_ibm_runtime"

_PROGRAM_NAMES = {
    "UserMessenger": _PROGRAM,
    "ProgramBackend": _PROGRAM,
    "ResultDecoder": _PROGRAM,
}
_CODEC_NAMES = {"RuntimeEncoder": _CODEC, "RuntimeDecoder": _CODEC}

# Module -> the names that it must have -> their present module.
_OLD_MODULES: dict[str, dict[str, str]] = {
    _RUNTIME: _CODEC_NAMES,
    f"{_RUNTIME}.program": _PROGRAM_NAMES,
    f"{_RUNTIME}.program.user_messenger": {"UserMessenger": _PROGRAM},
    f"{_RUNTIME}.program.program_backend": {"ProgramBackend": _PROGRAM},
    f"{_RUNTIME}.program.result_decoder": {"ResultDecoder": _PROGRAM},
    "qiskit.providers.ibmq": {},
    "qiskit.providers.ibmq.runtime": {**_PROGRAM_NAMES, **_CODEC_NAMES},
    "qiskit.providers.ibmq.runtime.utils": _CODEC_NAMES,
}
_ADDED_TO_RUNTIME = {"UserMessenger": _PROGRAM, "ProgramBackend": _PROGRAM}


def install() -> None:
    """Make the old imports work in this process. Calling it again changes nothing."""
    if any(isinstance(finder, _MissingModules) for finder in sys.meta_path):
        return
    # Added last, so that it is used only for modules that no other finder knows.
    sys.meta_path.append(_MissingModules())
    if _RUNTIME in sys.modules:
        _complete(sys.modules[_RUNTIME], _ADDED_TO_RUNTIME)
    else:
        # Importing it now would take a second, and most programs do not need it.
        sys.meta_path.insert(0, _RuntimeCompleter())


def _complete(module: ModuleType, names: dict[str, str]) -> None:
    """Add the missing names to a module."""
    for name, home in names.items():
        if not hasattr(module, name):
            setattr(module, name, getattr(importlib.import_module(home), name))


class _MissingModules(MetaPathFinder, Loader):
    """Creates the old modules that are not installed."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 (the import system's signature)
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname not in _OLD_MODULES:
            return None
        has_parts = any(name.startswith(f"{fullname}.") for name in _OLD_MODULES)
        return ModuleSpec(fullname, self, origin=_PROGRAM, is_package=has_parts)

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the import system create the module; the interface requires this method."""

    def exec_module(self, module: ModuleType) -> None:
        _complete(module, _OLD_MODULES[module.__name__])
        if module.__name__ == _RUNTIME:  # an image without qiskit-ibm-runtime
            _complete(module, _ADDED_TO_RUNTIME)


class _RuntimeCompleter(MetaPathFinder):
    """Adds the dropped names to the real qiskit_ibm_runtime once that is imported."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 (the import system's signature)
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname != _RUNTIME:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            _add_after_execution(spec.loader)
        return spec


def _add_after_execution(loader: Loader) -> None:
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        _complete(module, _ADDED_TO_RUNTIME)

    loader.exec_module = exec_module  # type: ignore[method-assign]
