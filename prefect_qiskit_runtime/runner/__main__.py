"""Entry point, run by path in an image's interpreter. Not for use through `-m`.

The image may lack this package, and must not get the service's libraries: only the package's own
files are made importable, everything else comes from the image.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path

_PACKAGE = "prefect_qiskit_runtime"


def _put_package_in_place() -> None:
    folder = Path(__file__).resolve().parent.parent
    # Python adds the folder of this file first; its modules must not hide those of the image.
    sys.path[:] = [entry for entry in sys.path if entry != str(folder / "runner")]
    if _PACKAGE in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is not the package {_PACKAGE}")
    package = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    spec.loader.exec_module(package)


def _main() -> None:
    parser = argparse.ArgumentParser(description="Run jobs for a Runtime service.")
    parser.add_argument("--control", type=int, required=True, help="descriptor of the socket")
    parser.add_argument("--single-use", action="store_true", help="run one job, without fork")
    arguments = parser.parse_args()
    if arguments.single_use:
        from prefect_qiskit_runtime.runner import _single_use

        _single_use.serve(arguments.control)
    else:
        from prefect_qiskit_runtime.runner import _zygote

        _zygote.serve(arguments.control)


_put_package_in_place()
if __name__ == "__main__":
    _main()
elif __name__ == "__mp_main__":
    # A process that the program started with multiprocessing's "spawn" or "forkserver": it will
    # import the program, with the same old imports. The sys.path of the job itself is left
    # unchanged: stevedore writes a file to ~/.cache for each sys.path that it encounters.
    from prefect_qiskit_runtime.program.legacy import imports

    sys.path.insert(0, os.environ["QISKIT_RUNTIME_JOB_FOLDER"])
    imports.install()
