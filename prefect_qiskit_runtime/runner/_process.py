"""Turns this process into a job's process: group, output, limits, folder, threads and seeds.

This happens before the program is read.
"""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, TypedDict

from prefect_qiskit_runtime.runner import _libraries

__all__ = ["JobSettings", "enter", "lift_memory_limit", "set_parent_death_signal", "set_subreaper"]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_REPORT_RESERVE_BYTES = 64 * 1024**2


class JobSettings(TypedDict):
    """Content of `job.json` in the scratch folder."""

    v: int
    job_id: str
    program_id: str
    backend: str
    log_level: str
    simulation: dict[str, Any]
    max_execution_seconds: int
    memory_bytes: int
    file_bytes: int
    result_bytes: int
    interim_bytes: int
    interim_total_bytes: int
    interim_results: int
    threads: int


def set_subreaper() -> None:
    """Become the parent of descendants whose own parent has ended (Linux)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_parent_death_signal(parent: int) -> None:
    """End this process together with its parent (Linux), even if that ended before this call."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if sys.platform == "linux" and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def enter(scratch: Path, job: JobSettings, log: int) -> None:
    """Set up this process for one job."""
    _redirect_output(log)
    os.chdir(scratch)
    os.environ["TMPDIR"] = os.environ["QISKIT_RUNTIME_JOB_FOLDER"] = str(scratch)
    tempfile.tempdir = None
    sys.argv = [str(scratch / "program.py")]
    _seed()
    _libraries.use_threads(job["threads"])
    _log_at(job["log_level"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_bytes"], job["file_bytes"]))
    # A write beyond the limit then raises OSError (EFBIG) instead of ending the process.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _limit_memory(job["memory_bytes"])


def lift_memory_limit() -> None:
    """Release the memory held in reserve, so that running out of memory can be reported."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def _redirect_output(log: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(log)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        # Line-buffered, so that the log can be read while the job runs.
        stream = open(  # noqa: SIM115
            descriptor,
            "w",
            buffering=1,
            encoding="utf-8",
            errors="backslashreplace",
            closefd=False,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    faulthandler.enable()


def _seed() -> None:
    # A forked child has its parent's random state, so every job would draw the same numbers.
    # `numpy.random.default_rng` and Aer use fresh entropy anyway.
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _log_at(level: str) -> None:
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        # Level and message side by side, as at IBM: people search logs for "INFO Pass".
        format="%(asctime)s %(name)s %(levelname)s %(message)s",
        force=True,
    )
    # By default Python shows deprecations only in `__main__`, but the program has another name.
    warnings.filterwarnings("default", category=DeprecationWarning, module="program")


def _limit_memory(limit: int) -> None:
    # RLIMIT_DATA, not RLIMIT_AS: the address space holds gigabytes that are never used (each
    # thread's malloc arena reserves 64 MiB or more). Memory mapped by the libraries before the
    # program starts is not counted: OpenBLAS alone maps a gigabyte of buffers.
    status = Path("/proc/self/status")
    if not status.is_file():
        return
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    soft = int(fields["VmData"].split()[0]) * 1024 + limit
    resource.setrlimit(resource.RLIMIT_DATA, (soft, soft + _REPORT_RESERVE_BYTES))
