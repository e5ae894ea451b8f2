"""Evaluations: one call, one job, one result, even if a process crashes on the way.

A call becomes a `request`. The request has an `identity` (the name under which it is found again)
and a `placement` (backend, settings, prepared circuits). `evaluation` submits it, follows it and
sends the next attempt; `tagged_submission` and `submission_line` keep IBM's rules, `budget` checks
the limits of QPU time, `kept_results` answers from stored results, and `running` is the entry point
for tasks. Nothing here reads PUBs or defines Prefect tasks.
"""
