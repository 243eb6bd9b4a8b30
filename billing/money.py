"""Money: integer minor units with a currency, and the few places where amounts are rounded (pure)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal

# Wide enough that sums and products of every accepted input are exact, whatever the thread's own context says.
EXACT = Context(prec=80, rounding=ROUND_HALF_UP)

# ISO 4217 codes in use, by the number of digits after the decimal point.
_CODES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY "
    "COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR "
    "IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD "
    "NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC "
    "SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
_DIGITS = {code: number for number, codes in _CODES.items() for code in codes.split()}

# Where the provider counts other minor units than ISO 4217: ISK and UGX are sent with two zeros, MGA without decimals.
_STRIPE_DIGITS = {"ISK": 2, "UGX": 2, "MGA": 0}


class UnknownCurrency(ValueError):
    """The code is no ISO 4217 currency in use."""


def digits(currency: str) -> int:
    """Return how many digits the currency has after the decimal point (ISO 4217)."""
    try:
        return _DIGITS[currency]
    except KeyError:
        raise UnknownCurrency(f"{currency!r} is not an ISO 4217 currency code") from None


def round_half_up(value: Decimal) -> int:
    """Round to a whole number, halves away from zero."""
    return int(value.to_integral_value(ROUND_HALF_UP, EXACT))


def to_minor(amount: Decimal, currency: str) -> int:
    """Round an amount in the currency's main unit to minor units, halves away from zero."""
    return round_half_up(EXACT.multiply(amount, Decimal(10 ** digits(currency))))


def from_minor(minor: int, currency: str) -> Decimal:
    """Return minor units as an amount with exactly the currency's digits."""
    return Decimal(minor).scaleb(-digits(currency), EXACT)


def plain(value: Decimal, places: int = 0) -> str:
    """Write a number without exponent and trailing zeros, but with at least ``places`` digits after the point."""
    text = format(value, "f")
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0").ljust(places, "0")
    text = f"{whole}.{fraction}" if fraction else whole
    return text.removeprefix("-") if value == 0 else text


def spread(exact: Sequence[Decimal], total: int) -> list[int]:
    """Round each exact share to a whole number so that together they make ``total`` (largest remainder).

    ``total`` is the rounded sum; what is missing goes to the shares with the largest remainders, the earlier one first.
    """
    floors = [int(share.to_integral_value(ROUND_FLOOR, EXACT)) for share in exact]
    missing = total - sum(floors)
    if not missing:
        return floors
    takers = [i for i, share in enumerate(exact) if share] or list(range(len(exact)))
    takers.sort(key=lambda i: floors[i] - exact[i])
    each, first = divmod(missing, len(takers))
    for place, i in enumerate(takers):
        floors[i] += each + (place < first)
    return floors


def split(total: int, weights: Sequence[Decimal | int]) -> list[int]:
    """Divide minor units in proportion to the weights without losing one (largest remainder).

    Raises ValueError where the weights are all zero or one is negative.
    """
    whole = sum((Decimal(w) for w in weights), Decimal(0))
    if whole <= 0 or any(w < 0 for w in weights):
        raise ValueError("weights must not be negative, and one must be above zero")
    return spread([EXACT.divide(EXACT.multiply(Decimal(total), Decimal(w)), whole) for w in weights], total)


def net_and_vat(gross: int, rate: Decimal) -> tuple[int, int]:
    """Split a gross amount in minor units into net and VAT; ``rate`` in percent. The VAT is what the net leaves."""
    net = round_half_up(EXACT.divide(Decimal(gross * 100), 100 + rate))
    return net, gross - net


def _power(number: int) -> int:
    return int(10**number)


def to_stripe(minor: int, currency: str) -> int:
    """Return minor units as the amount that Stripe expects.

    Raises ValueError where the amount cannot be sent: three-decimal currencies must end in 0 (round prices to
    `stripe_step` beforehand), and a currency sent without decimals must be whole.
    """
    ours, theirs = digits(currency), _STRIPE_DIGITS.get(currency, digits(currency))
    if theirs >= ours:
        amount, lost = minor * _power(theirs - ours), 0
    else:
        amount, lost = divmod(minor, _power(ours - theirs))
    if lost or amount % stripe_step(currency):
        raise ValueError(f"{plain(from_minor(minor, currency))} {currency} cannot be charged exactly")
    return amount


def from_stripe(amount: int, currency: str) -> int:
    """Return an amount that Stripe reports in minor units; raises ValueError where it is no whole number of them."""
    ours, theirs = digits(currency), _STRIPE_DIGITS.get(currency, digits(currency))
    if ours >= theirs:
        return amount * _power(ours - theirs)
    minor, lost = divmod(amount, _power(theirs - ours))
    if lost:
        raise ValueError(f"{amount} is not a whole amount of {currency}")
    return minor


def stripe_step(currency: str) -> int:
    """Return the smallest difference in minor units that Stripe can charge."""
    return 10 if digits(currency) == 3 else 1


@dataclasses.dataclass(frozen=True, slots=True)
class Money:
    """An amount that can be booked: whole minor units of one currency."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        digits(self.currency)

    @classmethod
    def of(cls, amount: Decimal, currency: str) -> Money:
        """Round an amount in the currency's main unit, halves away from zero."""
        return cls(to_minor(amount, currency), currency)

    @classmethod
    def total(cls, parts: Iterable[Money], currency: str) -> Money:
        """Add up amounts of one currency; nothing makes zero."""
        return sum(parts, cls(0, currency))

    @property
    def amount(self) -> Decimal:
        """The amount in the currency's main unit, with its digits."""
        return from_minor(self.minor, self.currency)

    def split(self, weights: Sequence[Decimal | int]) -> list[Money]:
        """Divide in proportion to the weights without losing a minor unit."""
        return [Money(part, self.currency) for part in split(self.minor, weights)]

    def net_and_vat(self, rate: Decimal) -> tuple[Money, Money]:
        """Split a gross amount into net and VAT; ``rate`` in percent."""
        net, vat = net_and_vat(self.minor, rate)
        return Money(net, self.currency), Money(vat, self.currency)

    def __add__(self, other: Money) -> Money:
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.minor - self._same(other), self.currency)

    def __mul__(self, factor: int | Decimal) -> Money:
        return Money(round_half_up(EXACT.multiply(Decimal(self.minor), Decimal(factor))), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.minor, self.currency)

    def __bool__(self) -> bool:
        return self.minor != 0

    def __lt__(self, other: Money) -> bool:
        return self.minor < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.minor <= self._same(other)

    def __str__(self) -> str:
        return f"{self.amount:f} {self.currency}"

    def _same(self, other: Money) -> int:
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} do not mix")
        return other.minor
