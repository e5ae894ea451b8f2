"""Loads, before any job, the libraries that jobs need, and controls the threads they start.

The libraries are only loaded here: calling functions of Qiskit or numpy starts threads, after which
a fork is unsafe.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib
import os
import platform
import site
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from prefect_qiskit_runtime.program.legacy import imports

__all__ = ["load", "site_folders", "thread_count", "use_threads", "versions"]

_NEEDED = (
    "numpy",
    "qiskit",
    "qiskit.circuit.library",
    "qiskit.primitives",
    "qiskit.qpy",
    "qiskit.quantum_info",
)
# Includes the modules that Qiskit loads at the first `transpile`.
_USED_IF_THERE = (
    "qiskit.transpiler.passes.synthesis.hls_plugins",
    "qiskit.transpiler.preset_passmanagers.builtin_plugins",
    "scipy.optimize",
    "qiskit_aer",
    "qiskit_aer.noise",
    "qiskit_aer.primitives",
    "qiskit_ibm_runtime",
    "qiskit_ibm_runtime.fake_provider",
    "qiskit_ibm_runtime.transpiler.plugin",
    "qiskit_ibm_runtime.utils.json",
    # Ours, for Qiskit with primitives of the second version.
    "prefect_qiskit_runtime.program.estimator",
    "prefect_qiskit_runtime.program.executor",
    "prefect_qiskit_runtime.program.legacy.primitives",
    "prefect_qiskit_runtime.program.primitives",
)
_OURS = (
    "prefect_qiskit_runtime.codec",
    "prefect_qiskit_runtime.program",
    "prefect_qiskit_runtime.program._backend",
    "prefect_qiskit_runtime.runner._job",
)
_DISTRIBUTIONS = ("qiskit", "qiskit-aer", "qiskit-ibm-runtime")

# The functions of OpenBLAS, under the names used in the wheels of numpy, scipy and Aer and in
# distributions, and of MKL.
_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
    "MKL_Set_Num_Threads",
)


def load() -> None:
    """Import the libraries that jobs need.

    Raises:
        ImportError: The environment cannot run jobs.
    """
    for name in _NEEDED:
        importlib.import_module(name)
    for name in _USED_IF_THERE:
        try:
            importlib.import_module(name)
        except ImportError as exc:
            sys.stderr.write(f"not in this environment: {name} ({exc})\n")
    for name in _OURS:
        importlib.import_module(name)
    imports.install()
    _thread_setters()
    gc.collect()
    # Memory shared with the children stays shared, because the collector no longer writes to it.
    gc.freeze()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the relevant distributions that are installed."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def site_folders() -> dict[str, int]:
    """Return the folders that change when a library is installed, and when each last changed."""
    candidates = {*site.getsitepackages(), site.getusersitepackages()}
    return {
        folder: Path(folder).stat().st_mtime_ns
        for folder in candidates
        if folder in sys.path and Path(folder).is_dir()
    }


def thread_count() -> int:
    """Count this process's threads, including those of C libraries; 1 where it is not visible."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else 1


def use_threads(count: int) -> None:
    """Set the number of threads of the loaded linear algebra libraries.

    OpenMP is not set here: the setting would not apply in threads that the program starts, and
    Aer simulates in such a thread. Its number is set in the environment at start, which does not
    start any thread (measured with libgomp).
    """
    os.environ.update(
        dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), str(count))
    )
    for setter in _thread_setters():
        setter(ctypes.c_int(count))


@functools.cache
def _thread_setters() -> list[Any]:
    """Find the functions that set the number of threads, once for all jobs because it is slow."""
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        return []
    paths = {
        line.split(maxsplit=5)[-1]
        for line in maps.read_text().splitlines()
        if "openblas" in line or "mkl_rt" in line
    }
    libraries = [ctypes.CDLL(path) for path in sorted(paths)]
    found = [
        next((getattr(library, name) for name in _SETTERS if hasattr(library, name)), None)
        for library in libraries
    ]
    return [setter for setter in found if setter is not None]
