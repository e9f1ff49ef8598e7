"""`mailer preview`: a local page that shows each recipient's message while its author writes it.

`serve_preview` runs the page until cancelled. Needs the extra `preview`.

The campaign is read, compiled and rendered by `CampaignProcess`, a process of its own that is ended when it takes
too long: the page answers, whatever a template does. The list is in a database on the disk, so that a million
rows are no burden. What is shown comes from the same `compile_campaign` as what `mailer send` sends.
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
