"""The Runtime service: programs, jobs, results and their stream, behind the Runtime REST API.

It carries encoded values unchanged, as bytes, and never decodes one. It never imports Prefect, nor
qiskit, which only the jobs' processes import. Nothing imports the service: it is started as a
process and used over its API.

Entry points: `python -m prefect_qiskit_runtime.service`, `app.create_app`, `store.Store`,
`scheduler.Scheduler`, and the `executor.Executor` interface behind which jobs run.
"""
