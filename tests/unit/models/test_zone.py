"""A time zone by its name."""

import pytest

from headway.models.values.zone import zone


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "America/New York", "../etc/passwd", "EST5EDT4"])
def test_unknown_zone_is_refused_with_a_remedy(name: str) -> None:
    with pytest.raises(ValueError, match="use an IANA name such as America/New_York"):
        zone(name)
