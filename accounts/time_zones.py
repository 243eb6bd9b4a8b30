"""Names of time zones as IANA writes them."""

from __future__ import annotations

import functools
import zoneinfo

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _


@functools.cache
def names() -> tuple[str, ...]:
    """Return every zone a person may choose, sorted."""
    return tuple(sorted(name for name in zoneinfo.available_timezones() if "/" in name or name == "UTC"))


def validate_time_zone(name: str) -> None:
    """Raise ValidationError where ``name`` is no zone of the IANA database."""
    if name not in zoneinfo.available_timezones():
        raise ValidationError(_("“%(name)s” is not a time zone, such as Europe/Berlin."), params={"name": name})
