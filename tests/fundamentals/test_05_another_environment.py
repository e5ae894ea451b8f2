"""Run a program with the libraries of the flow's environment."""

from __future__ import annotations

import json
import os
import sys
import venv
from pathlib import Path

from tests.fundamentals.conftest import Start, command_line


def test_a_flow_from_another_environment_sees_its_own_libraries(
    start_flow: Start, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    venv.create(other, with_pip=False, symlinks=True)
    (packages,) = (other / "lib").glob("python*/site-packages")
    (packages / "ours.pth").write_text("\n".join(path for path in sys.path if path))
    (packages / "only_there.py").write_text("WHERE = __file__\n")

    flow = start_flow("elsewhere.py", python=other / "bin" / "python")
    assert flow.read("WHERE") == str(packages / "only_there.py")

    status = json.loads(command_line("service", "status", "--json"))
    assert Path(status["token_file"]).is_relative_to(os.environ["PREFECT_QISKIT_RUNTIME_HOME"])
