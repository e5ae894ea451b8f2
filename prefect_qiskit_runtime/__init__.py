"""Prefect blocks and tasks for Qiskit Runtime."""
