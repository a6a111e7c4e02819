"""Phone numbers to E.164, a block at a time.

What a number is, and whether it is valid, is for the library `phonenumbers` to say. It takes 20 microseconds a
number; so the usual ways of writing a number are recognised by one regular expression, made of the library's
own patterns for the region. Everything else, and all that the expression does not take, goes to the library.
A test holds both against each other.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata
from pydantic import AfterValidator, WithJsonSchema

from headway.flows.calling_list_import.arrow_texts import joined, split, text, texts_array

PUNCTUATION = " ()-./"
LONGEST_CHARACTERS = 250  # phonenumbers refuses longer texts
_DELETE = str.maketrans("", "", PUNCTUATION)
_KINDS = (
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
)


def _known_region(value: str) -> str:
    if value not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError(f"unknown region '{value}'; give the two letters of a country, such as US or DE")
    return value


Region = Annotated[
    str,
    AfterValidator(_known_region),
    WithJsonSchema({"type": "string", "enum": sorted(phonenumbers.SUPPORTED_REGIONS)}),
]


class PhoneNumbers:
    """Numbers as people of one region (two letters) write them; those that begin with + may be of any."""

    def __init__(self, region: str) -> None:
        self.region = region
        metadata: Any = PhoneMetadata.metadata_for_region(region)
        self._prefix = f"+{metadata.country_code}"
        bare, *prefixed = _usual_forms(metadata)
        self._bare = re.compile(bare, re.ASCII).fullmatch
        self._prefixed = re.compile("|".join(prefixed), re.ASCII).fullmatch
        self._in_arrays = _BareNumbers.of(metadata)

    def e164(self, written: Sequence[str] | pa.StringArray) -> list[str | None]:
        """Each number in E.164; an empty text where nothing is written, None where it is no valid number."""
        if isinstance(written, pa.Array):
            found: list[str | None] = self.in_array(written).to_pylist()
            return found
        prefix, bare = self._prefix, self._bare
        plain = _without_punctuation(written)
        numbers: list[str | None] = [prefix + digits if bare(digits) else None for digits in plain]
        if None in numbers:
            for index, number in enumerate(numbers):
                if number is None:
                    numbers[index] = self._unusual(plain[index], written[index])
        return numbers

    def in_array(self, written: pa.StringArray) -> pa.StringArray:
        """The same as an array; null where it is no valid number."""
        if (
            self._in_arrays is None
            or not len(written)
            or pc.max(pc.binary_length(written)).as_py() > LONGEST_CHARACTERS
        ):
            return texts_array(self.e164(written.to_pylist()))
        plain = _plain_array(written)
        numbers = pc.binary_join_element_wise(text(self._prefix), plain, text(""))
        unusual = pc.indices_nonzero(pc.invert(self._in_arrays.match(plain))).to_pylist()
        if not unusual:
            return numbers
        found: list[str | None] = numbers.to_pylist()
        for index in unusual:
            found[index] = self._unusual(plain[index].as_py(), written[index].as_py())
        return texts_array(found)

    def _unusual(self, plain: str, written: str) -> str | None:
        match = self._prefixed(plain)
        return self._prefix + match[match.lastindex or 0] if match else self._by_library(written)

    def _by_library(self, written: str) -> str | None:
        if not written.strip():
            return ""
        try:
            number = phonenumbers.parse(written, self.region)
        except phonenumbers.NumberParseException:
            return None
        if not phonenumbers.is_valid_number(number):
            return None
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@dataclass(frozen=True)
class _BareNumbers:
    """Tells the valid national numbers of a region in an array, as the first of `_usual_forms` does.

    Arrow's expressions know no lookahead, so what a number must be and must not be are matched one after another.
    """

    must: tuple[str, ...]
    must_not: str

    @classmethod
    def of(cls, metadata: Any) -> "_BareNumbers | None":
        """None where Arrow cannot tell them: kinds of numbers differ in length, or a pattern is not for it."""
        main: Any = PhoneMetadata.metadata_for_region(COUNTRY_CODE_TO_REGION_CODE[metadata.country_code][0])
        kinds = _kinds(main)
        lengths = {kind.possible_length for kind in kinds}
        if len(lengths) != 1 or main.leading_digits:
            return None
        valid = "|".join(dict.fromkeys(kind.national_number_pattern for kind in kinds))
        possible = metadata.general_desc.national_number_pattern
        length = "|".join(f".{{{length}}}" for length in lengths.pop())
        shut_out = [metadata.international_prefix, str(metadata.country_code), metadata.national_prefix_for_parsing]
        patterns = cls(
            tuple(f"^(?:{pattern})$" for pattern in (length, possible, valid)),
            "^(?:" + "|".join(f"(?:{pattern})" for pattern in dict.fromkeys(shut_out) if pattern) + ")",
        )
        try:
            patterns.match(texts_array([""]))
        except pa.ArrowInvalid:
            return None
        return patterns

    def match(self, plain: pa.StringArray) -> pa.BooleanArray:
        found = pc.invert(pc.match_substring_regex(plain, self.must_not))
        for pattern in self.must:
            found = pc.and_(found, pc.match_substring_regex(plain, pattern))
        return found


def _plain_array(written: pa.StringArray) -> pa.StringArray:
    """The same texts without the characters that separate digits, by one call for the whole array."""
    plain = split(joined(written, "\n").to_pybytes().translate(None, PUNCTUATION.encode()), "\n")
    return plain if len(plain) == len(written) else texts_array(one.translate(_DELETE) for one in written.to_pylist())


def _without_punctuation(written: Sequence[str]) -> list[str]:
    """The same texts without the characters that separate digits; one that is too long becomes empty."""
    if written and max(map(len, written)) > LONGEST_CHARACTERS:
        written = [text if len(text) <= LONGEST_CHARACTERS else "" for text in written]
    plain = "\n".join(written).translate(_DELETE).split("\n")  # one call for the whole block
    return plain if len(plain) == len(written) else [text.translate(_DELETE) for text in written]


def _usual_forms(metadata: Any) -> list[str]:
    """Patterns of texts in which phonenumbers would find the national number that is their group.

    Each shuts out what would make the library read it otherwise. First the national number alone, then behind
    the calling code, behind + and calling code, and behind the national prefix (0 in most of Europe).
    """
    code = str(metadata.country_code)
    main: Any = PhoneMetadata.metadata_for_region(COUNTRY_CODE_TO_REGION_CODE[metadata.country_code][0])
    possible = f"(?=(?:{metadata.general_desc.national_number_pattern})\\Z)"
    unprefixed = _not(metadata.national_prefix_for_parsing)
    here = _not(metadata.international_prefix) + possible.replace("(?=", "(?!", 1)
    valid = _valid(main)
    forms = [
        f"{_not(metadata.international_prefix)}{_not(code)}{unprefixed}{possible}({valid})",
        f"{here}{code}{unprefixed}{possible}({valid})",
        f"\\+{code}{_not(main.national_prefix_for_parsing)}({valid})",
    ]
    prefix = metadata.national_prefix
    if prefix and prefix != code and _is_simple(metadata):
        forms.append(f"{here}{_not(code)}{prefix}{possible}({valid})")
    return forms


def _not(pattern: str | None) -> str:
    return f"(?!{pattern})" if pattern else ""


def _is_simple(metadata: Any) -> bool:
    """Whether the national prefix is just left out: nothing is put in its place, no carrier is named."""
    pattern = re.compile(metadata.national_prefix_for_parsing or "")
    return not metadata.national_prefix_transform_rule and not pattern.groups


def _kinds(metadata: Any) -> list[Any]:
    """What kinds of numbers there are, each with its pattern and its lengths."""
    kinds = [getattr(metadata, kind) for kind in _KINDS]
    return [
        kind
        for kind in kinds
        if kind and kind.national_number_pattern and kind.possible_length and -1 not in kind.possible_length
    ]


def _valid(metadata: Any) -> str:
    """National numbers that are valid where this region is the first of its calling code."""
    if metadata.leading_digits:
        return "(?!)"
    patterns = dict.fromkeys(
        f"(?=(?:{'|'.join(f'.{{{length}}}' for length in kind.possible_length)})\\Z)(?:{kind.national_number_pattern})"
        for kind in _kinds(metadata)
    )
    return "|".join(patterns)
