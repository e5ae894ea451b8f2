"""Records: the details that are kept of each job, for a later process, a page or a comparison.

`records` stores and forgets small documents in Prefect's result storage, `provenance` collects
where a result comes from, `job_settings` reads how a job is measured from its inputs, `summaries`
shows finished jobs in Prefect's UI, `comparison` sets two jobs side by side. Nothing here submits.
"""
