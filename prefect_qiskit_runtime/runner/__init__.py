"""Inside the job's process: load a program, run its `main`, say what came of it.

Started by path in any interpreter (image) that has qiskit, so it imports the standard library,
numpy, qiskit and its neighbours, and of this package `codec`, `program` and `errors` only.

- `__main__` puts the package in place and starts one of the two ways to make a job's process.
- `_zygote` forks one child per job; `_single_use` is its own child, where fork is not safe.
- `_process` makes a fresh child a job's process: group, limits, output, threads, seeds.
- `_job` runs the program; `_failure` puts its end in words.
- `_messages` writes what `messages.schema.json` describes.

It never talks to the service but through the two pipes and the socket that it is given, and
never decides how long a job may run.
"""
