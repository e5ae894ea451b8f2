"""Where there is a fault mode, and where there is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.team import TOKENS, start_team

COMMAND = [sys.executable, "-m", "prefect_qiskit_runtime.cli", "serve", "--user=a:t", "--port=0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fault-mode", "--host", "0.0.0.0"], "for tests on one machine, not for 0.0.0.0"),
        (["--as", "ibm"], "--as ibm requires --fault-mode"),
        (["--as", "someone", "--fault-mode"], "only ibm can be imitated"),
    ],
)
def test_it_is_refused_where_it_must_not_be(tmp_path: Path, arguments, message) -> None:
    done = subprocess.run(
        [*COMMAND, f"--home={tmp_path / 'home'}", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_service_started_without_it_has_no_trace_of_it(tmp_path: Path) -> None:
    service = start_team(tmp_path / "home")
    try:
        headers = {"Authorization": f"Bearer {TOKENS['alice']}"}
        with httpx.Client(base_url=service.url, headers=headers, trust_env=False) as client:
            assert client.get("/fault-mode/scenarios").status_code == 404
            paths = client.get("/openapi.json").json()["paths"]
        assert "/jobs" in paths
        assert not [path for path in paths if "fault-mode" in path]
    finally:
        service.close()
