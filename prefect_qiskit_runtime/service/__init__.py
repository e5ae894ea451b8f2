"""The Runtime service: programs, jobs, results and their stream, behind the Runtime REST API.

It carries encoded values as the bytes they are and never decodes one; it never imports qiskit
(that happens in the jobs' own processes) and knows no Prefect. Nothing imports it: it is
started as a process and met over its API.

Entry points: `python -m prefect_qiskit_runtime.service`, `app.create_app`, `store.Store`,
`scheduler.Scheduler`, and the `executor.Executor` interface behind which jobs run.
"""
