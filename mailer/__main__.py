"""`python -m mailer`, and the `mailer` script. The version is answered before anything else is imported."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress


def main() -> None:
    """Run the command line of this process."""
    if sys.argv[1:] == ["--version"]:
        from mailer._version import __version__

        with suppress(OSError):  # the command line says what is wrong with standard output
            # Not by `print`, which would keep the text after an error and write it again.
            os.write(1, f"mailer {__version__}\n".encode())
            return
    # Loading the modules makes many objects and no garbage: with Python's own threshold (700), a tenth of the
    # time of a short command would be spent on looking for it.
    gc.set_threshold(100_000, 20, 20)
    from mailer.cli import main as command_line

    try:
        command_line()
    finally:
        # The interpreter would look for garbage among all objects several times while it ends.
        gc.freeze()


if __name__ == "__main__":
    main()
