"""Phone numbers to E.164: always what the library phonenumbers says, only faster."""

import random

import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.flows.calling_list_import.phones import PUNCTUATION, PhoneNumbers

REGIONS = ["US", "CA", "DE", "GB", "FR", "IT", "MX", "BR", "AU", "IN", "JM", "RU", "KZ", "AR", "JP", "ES", "CH", "VA"]
NUMBERS = {region: PhoneNumbers(region) for region in REGIONS}


def by_library(written: str, region: str) -> str | None:
    """The same by phonenumbers alone."""
    if not written.strip():
        return ""
    try:
        number = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        return None
    valid = phonenumbers.is_valid_number(number)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) if valid else None


@pytest.mark.parametrize(
    ("written", "region", "expected"),
    [
        ("(212) 555-0101", "US", "+12125550101"),
        ("212.555.0101", "US", "+12125550101"),
        ("1 212 555 0101", "US", "+12125550101"),
        ("+1 (212) 555-0101", "DE", "+12125550101"),
        ("416-555-0101", "US", "+14165550101"),  # Toronto
        ("030 123456", "DE", "+4930123456"),
        ("+49 (0)30 123456", "US", "+4930123456"),
        ("06 6982", "IT", "+39066982"),  # Italy keeps its 0
        ("212-555-0101 x23", "US", "+12125550101"),
        ("1-800-FLOWERS", "US", "+18003569377"),
        ("", "US", ""),
        ("  ", "US", ""),
        ("12", "US", None),
        ("(112) 555-0101", "US", None),
        ("no phone", "US", None),
        ("２１２５５５０１０１", "US", "+12125550101"),  # full-width digits
        ("212\n5550101", "US", None),
    ],
)
def test_numbers(written, region, expected):
    assert PhoneNumbers(region).e164([written]) == [expected]
    assert by_library(written, region) == expected


def near(region: str) -> st.SearchStrategy[str]:
    """Texts close to what is a number there: begun as a valid one, ended at random, prefixed and interspersed."""
    example = phonenumbers.example_number(region)
    national = phonenumbers.national_significant_number(example)
    code = str(example.country_code)
    digits = st.text("0123456789", max_size=8)
    starts = st.integers(0, len(national)).map(lambda count: national[:count])
    prefixes = st.sampled_from(["", "", "0", "1", "8", "00", f"+{code}", code, f"00{code}", f"011{code}", f"+{code}0"])
    body = st.tuples(prefixes, starts, digits).map("".join)
    spaced = st.tuples(body, st.lists(st.sampled_from(["", "", "", *PUNCTUATION]), min_size=30, max_size=30))
    return spaced.map(lambda pair: "".join(a + b for a, b in zip(pair[0], pair[1] * 2, strict=False)))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(REGIONS).flatmap(lambda region: st.tuples(st.just(region), near(region))))
def test_it_says_what_the_library_says(case):
    region, written = case
    assert NUMBERS[region].e164([written]) == [by_library(written, region)]
    assert NUMBERS[region].e164(pa.array([written])) == [by_library(written, region)]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(REGIONS), st.lists(st.text(alphabet="0123456789+()-./ x\n", max_size=20), max_size=10))
def test_blocks_of_anything(region, written):
    expected = [by_library(text, region) for text in written]
    assert NUMBERS[region].e164(written) == expected
    assert NUMBERS[region].e164(pa.array(written, pa.string())) == expected


def test_random_numbers_of_each_region_by_the_thousand():
    dice = random.Random(7)
    for region, numbers in NUMBERS.items():
        length = len(phonenumbers.national_significant_number(phonenumbers.example_number(region)))
        written = ["".join(dice.choices("0123456789", k=length)) for _ in range(500)]
        expected = [by_library(text, region) for text in written]
        assert numbers.e164(written) == expected
        assert numbers.e164(pa.array(written)) == expected


@pytest.mark.parametrize("region", ["US", "DE", "GB", "FR"])
def test_the_usual_forms_do_not_need_the_library(region, monkeypatch):
    numbers = PhoneNumbers(region)
    example = phonenumbers.example_number(region)
    forms = [phonenumbers.PhoneNumberFormat.NATIONAL, phonenumbers.PhoneNumberFormat.INTERNATIONAL]
    written = [phonenumbers.format_number(example, form) for form in forms]
    monkeypatch.setattr(phonenumbers, "parse", lambda *_: pytest.fail("the library was asked"))
    e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    assert numbers.e164(written) == [e164, e164]
    assert numbers.e164(pa.array(written)) == [e164, e164]


def test_a_text_too_long_for_the_library_is_no_number():
    written = "212" + " " * 250 + "5550101"
    assert PhoneNumbers("US").e164([written, "2125550101"]) == [None, "+12125550101"]
    assert PhoneNumbers("US").e164(pa.array([written, "2125550101"])) == [None, "+12125550101"]
    assert by_library(written, "US") is None
