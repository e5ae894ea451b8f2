"""Load, before any job, the libraries that jobs need, and control the threads they start.

Loading is all that happens here: calling into qiskit or numpy starts threads, after which a
fork is unsafe.
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
# Also what qiskit itself loads at the first `transpile`.
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

# OpenBLAS under the names that numpy's and scipy's wheels, Aer's wheel and distributions
# give it, and MKL.
_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
    "MKL_Set_Num_Threads",
)


def load() -> None:
    """Import what jobs need.

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
    # What is shared with the children stays shared: the collector does not write to it.
    gc.freeze()


def versions() -> dict[str, str]:
    """Give the version of python and of each distribution that matters and is there."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def site_folders() -> dict[str, int]:
    """Give the folders that change when a library is installed or removed, and when they did."""
    candidates = {*site.getsitepackages(), site.getusersitepackages()}
    return {
        folder: Path(folder).stat().st_mtime_ns
        for folder in candidates
        if folder in sys.path and Path(folder).is_dir()
    }


def thread_count() -> int:
    """Count this process's threads, those of C libraries included; 1 where it cannot be seen."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else 1


def use_threads(count: int) -> None:
    """Let the linear algebra that is loaded use so many threads.

    OpenMP is not set here: a setting made now would not hold in threads that the program
    starts, and Aer simulates in one. Its number comes with the environment at start, which by
    itself starts no thread (measured with libgomp).
    """
    os.environ.update(
        dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), str(count))
    )
    for setter in _thread_setters():
        setter(ctypes.c_int(count))


@functools.cache
def _thread_setters() -> list[Any]:
    """Find the functions that set the number of threads, once for all jobs: it takes a while."""
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
