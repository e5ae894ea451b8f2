"""The environment variables that a program sees: a short list, never a secret."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["MARKER", "job_environment"]

MARKER = "QISKIT_RUNTIME_PROCESSES"
"""Variable by which processes of jobs are found when their fork server died."""

_ALLOWED = frozenset(
    {
        "CUDA_VISIBLE_DEVICES",
        "DYLD_LIBRARY_PATH",
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "PATH",
        "SHELL",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TZ",
        "USER",
    }
)


def job_environment(service: Mapping[str, str], *, threads: int, marker: str) -> dict[str, str]:
    """Choose from the service's variables and add those that the fork server needs."""
    chosen = {
        name: value for name, value in service.items() if name in _ALLOWED or name.startswith("LC_")
    }
    # OpenBLAS and MKL start threads when they are loaded, which a fork server must not have;
    # jobs raise their number. OpenMP starts none, and its number can be given at start only.
    # OpenBLAS's threads wait for work busily for 2**26 cycles, also when they have just been
    # started: that was most of what a short job cost. 2**20 is still longer than the gap
    # between two calls.
    return {
        **chosen,
        "OPENBLAS_NUM_THREADS": "1",
        "OPENBLAS_THREAD_TIMEOUT": "20",
        "MKL_NUM_THREADS": "1",
        "OMP_NUM_THREADS": str(threads),
        MARKER: marker,
    }
