"""The one reader of a mail address."""

import pytest

from headway.models.values.mail_address import read_mail_address, sender_of


@pytest.mark.parametrize(
    "text",
    [
        "ops@example.com",
        "first.last+x@mail.example.com",
        "root@localhost",
        "ops@mail_server.local",
        "o'neil@example.com",
        "ops@[192.0.2.1]",
        "ops@[IPv6:2001:db8::1]",
        "a" * 64 + "@example.com",
    ],
)
def test_an_address_is_read_as_it_is(text: str) -> None:
    assert read_mail_address(text) == text and sender_of(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ops",
        "@b",
        "a@",
        "a@b.",
        "a@b c",
        "a@b\n",
        "a@b\r\nBcc: x@y",
        "a@b,c@d",
        "Ann <a@b>",
        "ä@b",
        "a@bücher.example",
        "a" * 65 + "@b",
        "a@" + "b" * 253,
    ],
)
def test_what_a_mail_server_could_not_take_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a mail address, such as ops@example\.com"):
        read_mail_address(text)
    assert sender_of(text) == "headway@localhost"
