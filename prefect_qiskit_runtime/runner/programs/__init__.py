"""The public programs of every service: those that samples published for Qiskit Runtime call.

Each is a source with a `.json` of the same name: what the program says of itself. They have the
form of an uploaded program and run as one: nothing here is imported by a job. What several of
them need lies in `prefect_qiskit_runtime.program`.
"""
