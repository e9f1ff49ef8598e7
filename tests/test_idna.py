"""Domains as A-labels."""

import pytest

from mailer.idna import encode_address, encode_domain


def test_a_domain_is_encoded_as_a_labels_and_ascii_is_unchanged() -> None:
    assert encode_domain("bücher.example") == "xn--bcher-kva.example"
    assert encode_domain("Mail.example.com") == "Mail.example.com"


def test_the_local_part_of_an_address_is_unchanged() -> None:
    assert encode_address("Zoë@bücher.example") == "Zoë@xn--bcher-kva.example"
    assert encode_address("zoë@example.com") == "zoë@example.com"


@pytest.mark.parametrize("domain", ["ü" * 300, "a..ü", "\ud800.example", "-ü-.example"])
def test_what_is_not_a_domain_name_is_a_value_error(domain: str) -> None:
    with pytest.raises(ValueError, match="is not a domain name"):
        encode_domain(domain)


def test_an_error_quotes_twenty_characters_of_the_name() -> None:
    name = "kanarienvogel" * 4
    with pytest.raises(ValueError) as caught:
        encode_domain(f"{name}\u201c.example")
    assert name[:19] in str(caught.value)
    assert name[:21] not in str(caught.value)
