"""Following: a running job as seen from a flow, from its submission to its result.

`following` reads the stream, waits for the end, fetches the result and cancels with the caller;
`callbacks` passes interim results to the user's callback and saves the callback's position;
`private_results` keeps the bytes of a result that can be read only once. Nothing here submits.
"""
