"""The contents of the log of a job."""

from __future__ import annotations

import pytest

TALKATIVE = """
import logging, sys, warnings

def main(backend, user_messenger):
    print("printed")
    print("to standard error", file=sys.stderr)
    warnings.warn("a warning of Python's")
    for level in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger("program"), level)("logged as %s", level)
"""


@pytest.mark.parametrize(
    ("level", "logged"),
    [
        (None, ["warning", "error"]),
        ("DEBUG", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("ERROR", ["error"]),
    ],
)
def test_a_log_has_both_streams_warnings_and_what_its_level_lets_through(
    api, level: str | None, logged: list[str]
) -> None:
    job_id = api.submit(api.upload(TALKATIVE, "talkative"), log_level=level)
    assert api.finish(job_id)["status"] == "Completed"
    log = api.http.get(f"/jobs/{job_id}/logs").text
    for text in ("printed", "to standard error", "a warning of Python's"):
        assert text in log
    levels = ("debug", "info", "warning", "error")
    assert [level for level in levels if f"logged as {level}" in log] == logged
