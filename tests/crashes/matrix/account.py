"""The jobs and sessions of the user whose flows are killed, asked for past all faults."""

from __future__ import annotations

import time
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import httpx
from prefect import get_client
from prefect.exceptions import ObjectNotFound

from prefect_qiskit_runtime import SyncRuntimeClient
from prefect_qiskit_runtime.codec import decode
from prefect_qiskit_runtime.evaluation.submission_line import limit_name
from prefect_qiskit_runtime.testing import OfflineService

DEADLINE_SECONDS = 90.0

PROGRAM = """
import random, time

def main(backend, user_messenger):
    for number in range(6):
        user_messenger.publish(number)
        time.sleep(0.05)
    return random.random()
"""


class Account:
    """An account on one service, which flows reach at `url`.

    Attributes:
        crn: Its instance, on the simulated IBM.
        program_id: The program, on ours.
    """

    def __init__(self, service: OfflineService, url: str, *, is_ibm: bool) -> None:
        self.crn = self.program_id = ""
        self._service, self._url, self._is_ibm = service, url, is_ibm
        self._http = httpx.Client(
            base_url=service.url + ("/api/v1" if is_ibm else ""),
            headers={"Authorization": f"{'apikey' if is_ibm else 'Bearer'} {service.token}"},
            timeout=60,
            trust_env=False,
        )
        if is_ibm:
            found = self._http.post(f"{service.url}/v3/resources/search").json()
            self.crn = self._http.headers["Service-CRN"] = found["items"][0]["crn"]
        else:
            with SyncRuntimeClient(service.url, service.token) as client:
                programs = {program.name: program.program_id for program in client.programs()}
                self.program_id = programs.get("publishing") or client.upload_program(
                    PROGRAM, name="publishing"
                )

    def close(self) -> None:
        self.leave_line()
        self._http.close()

    def leave_line(self) -> None:
        """Take the places of processes that were killed out of the line of submissions.

        They would come free after up to 90 s, and the slots of a minute's submissions after 61 s.
        """
        if not self._is_ibm:
            return
        line = limit_name(SimpleNamespace(url=f"{self._url}/api/v1", instance=self.crn))  # type: ignore[arg-type]
        with get_client(sync_client=True) as client:
            for limit in client.read_global_concurrency_limits(limit=200):
                if limit.name.startswith(line):
                    with suppress(ObjectNotFound):
                        client.delete_global_concurrency_limit_by_name(limit.name)

    def jobs(self) -> dict[str, dict[str, Any]]:
        return {job["id"]: job for job in self._get("/jobs", limit=1000)["jobs"]}

    def settled_jobs(self, earlier: set[str]) -> list[str]:
        """Return the jobs that have run, once all have ended."""
        self._service.clear()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            jobs = {key: job for key, job in self.jobs().items() if key not in earlier}
            statuses = {job["state"]["status"] for job in jobs.values()}
            if statuses <= {"Completed", "Failed", "Cancelled"}:
                metrics = {key: self._get(f"/jobs/{key}/metrics") for key in jobs}
                return [key for key in jobs if metrics[key]["timestamps"].get("running")]
            assert time.monotonic() < deadline, statuses
            time.sleep(0.05)

    def result(self, job_id: str) -> Any:
        answer = self._http.get(f"/jobs/{job_id}/results").raise_for_status()
        if not self._is_ibm:
            return answer.json()
        (result,) = decode(answer.text)
        return result.data.meas.get_counts()

    def close_what_is_open(self) -> int:
        """Return how many sessions are open; close them for the cells that follow."""
        if self._is_ibm:
            return 0
        listed = self._get("/sessions", open=True)
        for session in listed["sessions"]:
            self._http.delete(f"/sessions/{session['id']}/close")
        return listed["count"]

    def _get(self, path: str, **query: Any) -> Any:
        return self._http.get(path, params=query).raise_for_status().json()
