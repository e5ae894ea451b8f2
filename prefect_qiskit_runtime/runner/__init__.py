"""The code inside the job's process: it loads a program, runs its `main` and reports the outcome.

It is started by path in any interpreter (image) that has Qiskit, so it imports only the standard
library, numpy, Qiskit and related packages, and `codec`, `program` and `errors` of this package.

- `__main__` makes the package importable and starts one of the two kinds of process for jobs.
- `_zygote` forks one child per job; `_single_use` runs one job itself, where fork is not safe.
- `_process` turns a new child into a job's process: group, limits, output, threads, seeds.
- `_job` runs the program; `_failure` describes why it ended without a result.
- `_messages` writes the messages described in `messages.schema.json`.

It communicates with the service only through the given pipes and socket, and never decides how
long a job may run.
"""
