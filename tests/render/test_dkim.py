from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailer.campaign.model import Attachment, Dkim, Unsubscribe
from mailer.errors import InputError
from mailer.render import dkim as dkim_module
from mailer.render.dkim import Signer
from tests.render.projects import Project, parsed, pattern, person

KEYS: dict[str, Any] = {"rsa": generate_rsa(65537, 2048), "ed25519": Ed25519PrivateKey.generate()}


def pem(key: Any, encryption: KeySerializationEncryption | None = None) -> bytes:
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    return made


def record(key: Any) -> bytes:
    """The DNS record of a key (RFC 6376 3.6.1, RFC 8463 4)."""
    public = key.public_key()
    if isinstance(key, RSAPrivateKey):
        return b"v=DKIM1; k=rsa; p=" + base64.b64encode(
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )
    return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw))


def verified(content: bytes, key: Any) -> bool:
    def dns(name: bytes, timeout: int = 5) -> bytes | None:
        return record(key) if name == b"s1._domainkey.xn--bcher-kva.example." else None

    return bool(dkim.verify(content, dnsfunc=dns))


def signing(project: Project, kind: str) -> dict[str, Any]:
    path = project.put("dkim.pem", pem(KEYS[kind]))
    return {"dkim": Dkim("bücher.example", "s1", path)}


@pytest.mark.parametrize("kind", KEYS)
def test_a_whole_message_is_signed(project: Project, kind: str) -> None:
    project.put("a.bin", bytes(range(256)) * 50)
    compiled = project.compile(
        text="Grüße  aus\tZürich \n\n\n",
        template="<p>  Grüße</p>\t\n",
        subject="Hello {{ name }}, with a subject that is folded over more than one line, é",
        attachments=(Attachment(pattern("a.bin")),),
        unsubscribe=Unsubscribe(pattern("https://e.com/u"), pattern("out@example.com"), True),
        headers={"X-Two": "two  blanks"},
        **signing(project, kind),
    )
    message = compiled.render(person(name="Zoë"), eight_bit=True)
    assert verified(message.content, KEYS[kind])
    assert not message.eight_bit
    signed = "".join(
        parsed(message.content)["DKIM-Signature"].partition(" h=")[2].partition(";")[0].split()
    ).split(":")
    assert signed.count("from") == 2
    assert {
        "to",
        "subject",
        "date",
        "message-id",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "x-two",
    } <= set(signed)
    assert all(len(line) <= 78 for line in message.content.split(b"\r\n"))


def test_what_is_changed_is_found(project: Project) -> None:
    content = project.compile(text="Hello you", **signing(project, "ed25519")).render(person()).content
    assert verified(content, KEYS["ed25519"])
    assert not verified(content.replace(b"Hello you", b"Hello me!"), KEYS["ed25519"])
    assert not verified(content.replace(b"Subject: Hello", b"Subject: Howdy"), KEYS["ed25519"])
    assert not verified(content.replace(b"From: ", b"From: eve@example.com\r\nFrom: "), KEYS["ed25519"])
    assert not verified(content, Ed25519PrivateKey.generate())


def test_what_a_relay_may_change_is_not(project: Project) -> None:
    content = project.compile(text="Hello  you\t.", **signing(project, "ed25519")).render(person()).content
    assert verified(content.replace(b"Subject: Hello", b"subject:   Hello "), KEYS["ed25519"])
    assert verified(content.replace(b"Hello  you\t.\r\n", b"Hello you . \r\n\r\n"), KEYS["ed25519"])


LINES = st.lists(st.text(st.sampled_from("a \t=.é"), max_size=12), max_size=8)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES)
def test_any_body_is_signed(tmp_path: Path, lines: list[str]) -> None:
    signer = Signer(Dkim("bücher.example", "s1", _key(tmp_path)), clock=lambda: 1_700_000_000)
    body = "\r\n".join(lines).encode() + b"\r\n"
    content = b"From: a@b.c\r\nX-A:  b \r\n\tc\r\n\r\n" + body
    assert verified(signer.sign(content) + content, KEYS["ed25519"])


def _key(folder: Path) -> Path:
    path = folder / "dkim.pem"
    path.write_bytes(pem(KEYS["ed25519"]))
    return path


def test_the_time_is_told(tmp_path: Path) -> None:
    signer = Signer(Dkim("example.com", "s1", _key(tmp_path)), clock=lambda: 1_700_000_000.9)
    assert b" t=1700000000;" in signer.sign(b"From: a@b.c\r\n\r\nx\r\n")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "there is no such file"),
        (b"not a key", "is not a private key in PEM"),
        (pem(KEYS["rsa"], BestAvailableEncryption(b"secret")), "the key is encrypted"),
        (pem(generate_private_key(SECP256R1())), "expected an RSA or Ed25519 key"),
        (record(KEYS["rsa"]), "is not a private key in PEM"),
    ],
)
def test_a_wrong_key_is_an_error_of_the_campaign(project: Project, content: bytes | None, text: str) -> None:
    path = project.root / "dkim.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        project.compile(text="Hi", dkim=Dkim("example.com", "s1", path))
    assert text in str(caught.value)
    assert "campaign.yaml: dkim.key_file: " in str(caught.value)


def test_a_short_key_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dkim_module, "MIN_BITS", 4096)  # for 1024: no library makes a shorter key any more
    with pytest.raises(InputError, match="an RSA key of 2048 bits"):
        project.compile(text="Hi", **signing(project, "rsa"))
