"""`python -m mailer`, and the `mailer` script. The version is answered before anything else is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process."""
    if sys.argv[1:] == ["--version"]:
        from mailer._version import __version__

        print(f"mailer {__version__}")
        return
    from mailer.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
