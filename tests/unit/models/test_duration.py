"""The one reader of a duration."""

from datetime import timedelta

import pytest

from headway.models.duration import read_duration


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("00:30:00", timedelta(minutes=30)),
        ("36:00:00", timedelta(hours=36)),
        ("PT5M", timedelta(minutes=5)),
        ("P1DT60S", timedelta(days=1, minutes=1)),
    ],
)
def test_a_duration_is_clock_like_or_iso(text: str, value: timedelta) -> None:
    assert read_duration(text) == value


@pytest.mark.parametrize("text", ["soon", "", "-PT5M", "P367D"])
def test_any_other_text_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        read_duration(text)
