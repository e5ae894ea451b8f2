"""The public programs of every service: those that samples published for Qiskit Runtime call.

Each is a source with its metadata in a `.json` file of the same name. They have the
form of an uploaded program and run as one: nothing here is imported by a job. Code that
several of them need is in `prefect_qiskit_runtime.program`.
"""
