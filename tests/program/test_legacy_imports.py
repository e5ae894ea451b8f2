"""Old imports of published program sources, each in a fresh process."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

HIDE_RUNTIME = """
import sys
from importlib.machinery import PathFinder
class Hidden(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] == "qiskit_ibm_runtime":
            return None
        return PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Hidden
"""


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.strip()


INSTALL = "from prefect_qiskit_runtime.program.legacy.imports import install; install()\n"


@pytest.mark.parametrize(
    "statement",
    [
        "from qiskit_ibm_runtime.program import UserMessenger, ProgramBackend, ResultDecoder",
        "from qiskit_ibm_runtime import UserMessenger, ProgramBackend",
        "from qiskit_ibm_runtime.program.result_decoder import ResultDecoder",
        "from qiskit.providers.ibmq.runtime import UserMessenger, ProgramBackend, ResultDecoder",
        "from qiskit.providers.ibmq.runtime import RuntimeEncoder, RuntimeDecoder",
        "from qiskit.providers.ibmq.runtime.utils import RuntimeEncoder, RuntimeDecoder",
    ],
)
@pytest.mark.parametrize("hidden", [False, True], ids=["installed", "not installed"])
def test_the_old_import_gives_the_new_class(statement, hidden):
    names = statement.partition(" import ")[2]
    assert (
        run(
            (HIDE_RUNTIME if hidden else "")
            + INSTALL
            + f"{statement}\nprint({{c.__module__.partition('.')[0] for c in ({names},)}})"
        )
        == "{'prefect_qiskit_runtime'}"
    )


def test_it_works_when_qiskit_ibm_runtime_is_imported_already():
    assert run(
        "import qiskit_ibm_runtime\n"
        + INSTALL
        + "from qiskit_ibm_runtime import UserMessenger, SamplerV2\nprint(UserMessenger.__module__)"
    ).startswith("prefect_qiskit_runtime.program")


def test_installing_imports_neither_qiskit_nor_its_runtime():
    program = INSTALL + 'import sys; print({"qiskit", "qiskit_ibm_runtime"} & set(sys.modules))'
    assert run(program) == "set()"


def test_installing_twice_is_installing_once():
    program = "import sys; n = len(sys.meta_path)\n" + INSTALL * 2 + "print(len(sys.meta_path) - n)"
    assert run(program) == "2"


def test_a_real_package_of_that_name_is_not_shadowed(tmp_path):
    package = tmp_path / "qiskit_ibm_runtime"
    (package / "program").mkdir(parents=True)
    (package / "__init__.py").write_text("class UserMessenger: pass\n")
    (package / "program" / "__init__.py").write_text("class ProgramBackend: pass\n")
    assert (
        run(
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
            + INSTALL
            + "import qiskit_ibm_runtime as r\n"
            + "from qiskit_ibm_runtime.program import ProgramBackend\n"
            + "print(r.UserMessenger.__module__, ProgramBackend.__module__)"
        )
        == "qiskit_ibm_runtime qiskit_ibm_runtime.program"
    )
