"""The service's own process: its files and signals, and what other processes can read of it.

Everything here happens once, when a service starts. Jobs' processes are not affected: they
start by `exec`, with a separate environment and limit of files.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress

__all__ = [
    "file_budget",
    "hide_from_others",
    "prepare_for_children",
    "remove_from_environment",
    "restore_file_limit",
]

_PR_SET_DUMPABLE = 4
_FILES_OF_SERVICE = 192
_FILES_PER_JOB = 16
_FEWEST_CONNECTIONS = 32
_OPEN_MAX = 10_240  # macOS refuses a soft limit above it

# Children that are started with `subprocess` or asyncio do not inherit these.
_IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}

_FILES_AT_START = resource.getrlimit(resource.RLIMIT_NOFILE)


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one; return the limit that now holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or sys.platform == "darwin":
        hard = max(soft, _OPEN_MAX)
    if soft != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        )
    return hard


def file_budget(max_concurrent_jobs: int) -> int:
    """Raise the limit of open files; return how many of them connections may use.

    The rest is a reserve for the database, the logs, and the pipes of jobs.
    """
    reserve = _FILES_OF_SERVICE + _FILES_PER_JOB * max_concurrent_jobs
    return max(_FEWEST_CONNECTIONS, raise_file_limit() - reserve)


def restore_file_limit(pid: int) -> None:
    """Give a new process the limits with which this one started (Linux).

    Some programs and C libraries count up to the soft limit, or cannot use higher descriptors.
    """
    if sys.platform == "linux":
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _FILES_AT_START)


def prepare_for_children() -> None:
    """Make this process a normal parent, however it was started.

    `nohup`, a shell's background commands and some supervisors start a service with signals ignored
    or blocked, and its children would inherit that: a job that ignores SIGTERM is not cancelled
    until it is killed. A handler has the same effect here, and is not inherited.
    """
    for number in signal.valid_signals() - _IGNORED_BY_PYTHON:
        if signal.getsignal(number) is signal.SIG_IGN:
            is_child = number == signal.SIGCHLD  # ignored, it loses how children ended
            signal.signal(number, signal.SIG_DFL if is_child else _do_nothing)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _do_nothing(_number: int, _frame: object) -> None:
    pass


def hide_from_others() -> None:
    """Make this process unreadable for other processes of the same user (Linux).

    Without it, every program can read the service's memory, files and environment in `/proc`.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_DUMPABLE): {os.strerror(number)}")


def remove_from_environment(names: Iterable[str]) -> None:
    """Remove variables from the environment, and overwrite the values with which they began.

    The kernel shows a process's first environment in `/proc/<pid>/environ`. Removing a variable
    leaves that memory unchanged, so the value is overwritten in place.
    """
    for name in names:
        if sys.platform == "linux":
            _overwrite(name)
        os.environ.pop(name, None)


def _overwrite(name: str) -> None:
    entries = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
    prefix = os.fsencode(name) + b"="
    place = 0
    while address := entries[place]:
        text = ctypes.string_at(address)
        if text.startswith(prefix):
            ctypes.memset(address + len(prefix), ord("x"), len(text) - len(prefix))
        place += 1
