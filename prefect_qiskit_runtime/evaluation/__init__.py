"""Evaluations: one call, one job, one result, whatever crashes on the way.

A call becomes a `request`, the request has an `identity` (the name under which it is found again)
and a `placement` (backend, settings, prepared circuits). `evaluation` submits it, follows it and
sends the next attempt; `tagged_submission` and `submission_line` keep IBM's rules, `budget` keeps
the limits of QPU time, `kept_results` answers from results that were kept, `running` is the way in
for tasks. Nothing here reads PUBs or decides what a task of Prefect looks like.
"""
