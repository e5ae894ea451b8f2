"""The public programs of every service: those that samples published for Qiskit Runtime call.

Each is a source with its metadata in a `.json` file of the same name. They have the
form of an uploaded program and run as one: nothing here is imported by a job. What several of
them need lies in `prefect_qiskit_runtime.program`.
"""
