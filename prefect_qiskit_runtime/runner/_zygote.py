"""The fork server of one image: loads the libraries once, then forks a child per job.

It has one thread, answers the service over the control socket, and leaves nothing behind: the
processes that a job started end with the job, and all jobs end with the service.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from prefect_qiskit_runtime.runner import _libraries, _process
from prefect_qiskit_runtime.runner._control import Control, JobPipes

__all__ = ["serve"]


def serve(descriptor: int) -> None:
    """Serve launch requests until the service is gone."""
    _process.set_subreaper()
    site_folders = _libraries.site_folders()
    _libraries.load()
    threads = _libraries.thread_count()
    if threads != 1:
        raise SystemExit(
            f"{threads} threads are running after the libraries were loaded; forking jobs from "
            "such a process is not safe. Is something in this environment started at import?"
        )
    ready = {"type": "ready", "versions": _libraries.versions(), "site_folders": site_folders}
    _Zygote(Control(descriptor), ready).run()


@dataclass
class _Child:
    job_id: str
    pid: int


class _Zygote:
    def __init__(self, control: Control, ready: dict[str, Any]) -> None:
        self._control = control
        self._ready = ready
        self._running: dict[str, _Child] = {}
        self._ended: list[dict[str, Any]] = []
        self._unkillable: set[int] = set()
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._wakeup_writer = socket.socketpair()
        for end in (self._wakeup, self._wakeup_writer):
            end.setblocking(False)

    def run(self) -> None:
        signal.set_wakeup_fd(self._wakeup_writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        self._control.send(self._ready)
        try:
            while True:
                self._step()
        except (EOFError, ConnectionError):
            self._kill_all()

    def _step(self) -> None:
        for key, _ in self._selector.select():
            if key.fileobj is self._control:
                for request in self._control.read():
                    self._answer(request)
            else:
                with contextlib.suppress(BlockingIOError):
                    while self._wakeup.recv(4096):
                        pass
        self._reap()

    def _answer(self, request: dict[str, Any]) -> None:
        if request["type"] == "launch":
            pipes = self._control.take_pipes(request["descriptors"])
            self._launch(request["job_id"], Path(request["scratch"]), pipes)
        elif request["job_id"] in self._running:
            self._signal(self._running[request["job_id"]], request["number"])

    def _launch(self, job_id: str, scratch: Path, pipes: JobPipes) -> None:
        zygote = os.getpid()
        try:
            pid = os.fork()
        except OSError as exc:
            pipes.close()
            self._control.send(
                {
                    "type": "failed",
                    "job_id": job_id,
                    "message": f"fork: {exc}",
                    "errno": exc.errno,
                }
            )
            return
        if pid == 0:
            self._become_job(zygote, scratch, pipes)
        # Also done here, so that the group exists whichever of the two processes continues first.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        pipes.close()
        self._running[job_id] = _Child(job_id, pid)
        self._control.send({"type": "launched", "job_id": job_id})

    def _become_job(self, zygote: int, scratch: Path, pipes: JobPipes) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            self._wakeup.close()
            self._wakeup_writer.close()
            self._control.close()
            os.setpgid(0, 0)
            _process.set_parent_death_signal(zygote)
            # Orphaned processes of the program become children of this job while it runs, so any
            # orphan that the zygote receives belongs to a job that has ended.
            _process.set_subreaper()
            from prefect_qiskit_runtime.runner import _job

            _job.run_and_exit(scratch, pipes, self._ready["versions"])
        except BaseException as exc:  # noqa: BLE001 - nothing may return into the fork server
            sys.excepthook(type(exc), exc, exc.__traceback__)
        finally:
            os._exit(1)

    def _signal(self, job: _Child, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, number)
        if number == signal.SIGKILL:
            # The program may have moved itself to another group.
            os.kill(job.pid, number)

    def _reap(self) -> None:
        for job in list(self._running.values()):
            if os.waitid(os.P_PID, job.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            # Before it is reaped, because until then its number cannot be reused for another group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)
            _, status = os.waitpid(job.pid, 0)
            del self._running[job.job_id]
            self._ended.append({"type": "exited", "job_id": job.job_id, **_exit_of(status)})
        if self._ended and not self._kill_strays():
            for answer in self._ended:
                self._control.send(answer)
            self._ended.clear()

    def _kill_strays(self) -> bool:
        """Kill processes left behind by ended jobs; return whether some are still alive."""
        jobs = {job.pid for job in self._running.values()}
        alive = False
        # The children of a killed process become ours: repeat until no new ones appear.
        while strays := _children() - jobs - self._unkillable:
            for pid in strays:
                if not _kill(pid):
                    self._unkillable.add(pid)
            reaped = [pid for pid in strays if os.waitpid(pid, os.WNOHANG)[0] == pid]
            if not reaped:
                alive = True
                break
        return alive

    def _kill_all(self) -> None:
        for job in self._running.values():
            self._signal(job, signal.SIGKILL)
        while mortal := {pid for pid in _children() if _kill(pid)}:
            os.waitpid(mortal.pop(), 0)


def _kill(pid: int) -> bool:
    """Kill a child; return False if it runs as another user and cannot be killed."""
    try:
        os.kill(pid, signal.SIGKILL)
    except PermissionError:
        return False
    return True


def _exit_of(status: int) -> dict[str, int | None]:
    code = os.waitstatus_to_exitcode(status)
    return (
        {"exit_code": code, "signal": None} if code >= 0 else {"exit_code": None, "signal": -code}
    )


def _children() -> set[int]:
    """Find all children, including inherited orphans."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return set()
    own = os.getpid()
    # A kernel may be built without this file; the parent of every process is then checked.
    listing = Path(f"/proc/{own}/task/{own}/children")
    if listing.exists():
        return {int(pid) for pid in listing.read_text().split()}
    return {
        int(entry.name)
        for entry in os.scandir("/proc")
        if entry.name.isdigit() and _parent_of(entry.path) == own
    }


def _parent_of(process: str) -> int | None:
    try:
        stat = Path(process, "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # "pid (name) state parent ...", and the name may contain any character.
    return int(stat.rpartition(")")[2].split()[1])
