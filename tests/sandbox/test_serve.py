from __future__ import annotations

import asyncio
from pathlib import Path

from mailer.sandbox.page import SandboxAddresses, SandboxOptions, serve_sandbox
from tests.web.visitor import Visitor


def test_it_announces_itself_serves_and_ends(tmp_path: Path) -> None:
    announced: list[SandboxAddresses] = []

    async def main() -> None:
        told = asyncio.Event()

        def announce(addresses: SandboxAddresses) -> None:
            announced.append(addresses)
            told.set()

        task = asyncio.create_task(serve_sandbox(announce, SandboxOptions(maildir=tmp_path / "caught")))
        await told.wait()
        page = (await asyncio.to_thread(lambda: Visitor(announced[0].page).request("")))[1]
        assert b"mailer sandbox" in page
        assert Path(announced[0].ca).is_file()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    (addresses,) = announced
    assert addresses.page.startswith("http://127.0.0.1:")
    assert addresses.smtps.startswith("smtps://sandbox:")
    assert addresses.maildir == str(tmp_path / "caught")
    assert not Path(addresses.ca).exists()
