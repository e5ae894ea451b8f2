"""IBM Quantum's service: its login, its polling and its limits, where they differ from ours.

`api` is the protocol as IBM speaks it, `_login` fetches access tokens, `_polling` follows jobs
without a stream, `limits` knows how many jobs may be pending, `verifying` checks an account.
"""
