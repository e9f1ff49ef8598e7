"""The local web pages' common ground: an HTTP server on loopback, and a message made ready to be shown.

The pages themselves are in `mailer.preview` and `mailer.sandbox`. Needs Starlette and uvicorn, which the
extras `preview` and `sandbox` install.
"""

from mailer.errors import MissingExtra

try:
    import starlette as _starlette
    import uvicorn as _uvicorn
except ModuleNotFoundError as error:
    raise MissingExtra(
        f"the local pages need the package {error.name}",
        hint="install one of the extras: pip install 'mailer[preview]' or 'mailer[sandbox]'",
    ) from error

del _starlette, _uvicorn
