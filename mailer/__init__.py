"""A templated batch mailer. The public API, by name; nothing else."""

from mailer._version import __version__

__all__ = ["__version__"]
