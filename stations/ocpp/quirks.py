"""What real chargers do differently, as data (pure). Each entry names a public report where there is one.

The first tables say which schema violations are let pass or put right, for every station; `RULES` holds
what only certain products need.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from stations.messages import (
    Message,
    MeterRead,
    Reading,
    SessionEnded,
    SessionStarted,
    TokenPresented,
)

# --- for every station -----------------------------------------------------------------------------

# Enumerations whose unknown words are carried on as text: nothing hangs on them but a label.
OPEN_WORDS: Final = frozenset(
    {
        "errorCode",  # "Error" (lbbrhzn/ocpp#1248)
        "unit",  # "Hz" (mobilityhouse/ocpp#70), both spellings of Celsius
        "measurand",
        "context",
        "location",
        "phase",
        "format",
        "reason",
        "stoppedReason",
        "triggerReason",
    }
)
MAX_OPEN_WORD: Final = 50

# Texts whose limit guards a key of ours; all others may be longer (34 characters of serial number,
# mobilityhouse/ocpp#123; an idTag of 21, lbbrhzn/ocpp#1803).
EXACT_LENGTH: Final = frozenset({"transactionId"})

# Arrays that may come empty although one element is due (lbbrhzn/ocpp#466).
EMPTY_LISTS: Final = frozenset({"meterValue", "sampledValue"})

# Whole Wh by the book, sent with a fraction.
ROUNDED: Final = frozenset({"meterStart", "meterStop"})

# Free content: an object or array is kept as its JSON text.
FREE_TEXT: Final = frozenset({"data"})

# Members that may be absent although they are due: (their object, member).
ABSENT: Final = frozenset(
    {
        ("sampledValue", "value"),  # the sample is dropped, the message is not
        ("signedMeterValue", "publicKey"),  # given out of band; optional since OCPP 2.1
        ("signedMeterValue", "signingMethod"),
        ("StatusNotification", "timestamp"),
    }
)

# "Nothing to say" in other words (lbbrhzn/ocpp#1741).
NO_TEXT: Final = frozenset({"null", "none", "n/a", "-"})
NO_ERROR: Final = frozenset({"null", "none", "noerror", "no error", "0", "0x0", "0x00", "0x0000", "0x00000000"})

# Units as written in the field, casefolded, beside the spellings of the specification.
UNIT_SPELLINGS: Final[Mapping[str, str]] = {
    "hz": "Hertz",
    "hertz": "Hertz",
    "celcius": "Celsius",
    "celsius": "Celsius",
    "°c": "Celsius",
    "%": "Percent",
    "percent": "Percent",
    "wh": "Wh",
    "kwh": "kWh",
    "w": "W",
    "kw": "kW",
    "a": "A",
    "ma": "mA",
    "v": "V",
    "mv": "mV",
    "k": "K",
    "fahrenheit": "Fahrenheit",
}


def said(text: str) -> str:
    """Return ``text``, or "" where a station wrote out that it has nothing to say."""
    return "" if text.strip().casefold() in NO_TEXT else text


def vendor_error(code: str) -> str:
    """Return a vendor's error code, or "" where it means that there is none."""
    return "" if code.strip().casefold() in NO_ERROR else code


# --- for some products -----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Treatment:
    """What is done to the messages of a station. ``energy_factor`` multiplies every energy register."""

    energy_factor: Decimal = Decimal(1)


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """A product (regular expressions, matched from the start and without case) and its treatment."""

    vendor: str
    model: str
    firmware: str
    treatment: Treatment
    source: str


PLAIN: Final = Treatment()
RULES: Final = (
    Rule(
        "OpenEVSE",
        "",
        r"v?4\.2\.2\b",
        Treatment(energy_factor=Decimal(1000)),  # kWh under the label Wh
        "OpenEVSE/openevse_esp32_firmware#703",
    ),
)


@functools.lru_cache(maxsize=4096)
def treatment(vendor: str, model: str, firmware: str) -> Treatment:
    """Return the treatment of a product by the words of its BootNotification; the first rule that fits wins."""
    for rule in RULES:
        if all(
            re.match(pattern, text, re.IGNORECASE)
            for pattern, text in ((rule.vendor, vendor), (rule.model, model), (rule.firmware, firmware))
        ):
            return rule.treatment
    return PLAIN


def apply(message: Message, treatment: Treatment) -> Message:
    """Return the message as the treatment sees it."""
    factor = treatment.energy_factor
    if factor == 1:
        return message
    if isinstance(message, SessionStarted | SessionEnded):
        return dataclasses.replace(
            message, register_wh=_times(message.register_wh, factor), readings=_scaled(message.readings, factor)
        )
    if isinstance(message, MeterRead):
        return dataclasses.replace(message, readings=_scaled(message.readings, factor))
    if isinstance(message, TokenPresented):
        read = dataclasses.replace(message.read, readings=_scaled(message.read.readings, factor))
        return dataclasses.replace(message, read=read)
    return message


def _times(value: Decimal | None, factor: Decimal) -> Decimal | None:
    return None if value is None else value * factor


def _scaled(readings: tuple[Reading, ...], factor: Decimal) -> tuple[Reading, ...]:
    return tuple(
        dataclasses.replace(
            reading,
            energy_wh=_times(reading.energy_wh, factor),
            energy_interval_wh=_times(reading.energy_interval_wh, factor),
        )
        for reading in readings
    )
