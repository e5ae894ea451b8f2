"""IBM Quantum's service: its login, polling and limits, where they differ from our services.

`api` is IBM's variant of the protocol, `_login` fetches access tokens, `_polling` follows jobs
without a stream, `limits` tracks how many jobs may be pending, `verifying` checks an account.
"""
