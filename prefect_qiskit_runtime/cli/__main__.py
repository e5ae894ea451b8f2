"""Run the command line as `python -m prefect_qiskit_runtime.cli`."""

from prefect_qiskit_runtime.cli import app

app(prog_name="prefect-qiskit-runtime")
