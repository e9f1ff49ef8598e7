"""The local web pages' common ground: an HTTP server on loopback, and a message made ready to be shown.

The pages themselves are in `mailer.preview` and `mailer.sandbox`. Needs Starlette and uvicorn, which the
extras `preview` and `sandbox` install.
"""
