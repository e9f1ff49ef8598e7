"""`mailer preview`: a local page that shows each recipient's message while its author writes it.

`serve_preview` runs the page until cancelled. Needs the extra `preview`.

A process of its own reads, compiles and renders the campaign (`campaign_process`). It is ended when it takes
too long, so the page answers whatever a template does. The list is in a database on the disk, so a million
rows need no more memory than a hundred. The messages come from `compile_campaign`, which `mailer send` uses
too.
"""

from mailer.errors import MissingExtra

try:
    import watchfiles as _watchfiles
except ModuleNotFoundError as error:
    raise MissingExtra(
        f"the preview needs the package {error.name}", hint="install the extra: pip install 'mailer[preview]'"
    ) from error

from mailer.preview.page import PreviewAddresses, PreviewOptions, serve_preview

__all__ = ["PreviewAddresses", "PreviewOptions", "serve_preview"]

del _watchfiles
