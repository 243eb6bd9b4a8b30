"""What holds for every tariff and every session."""

from __future__ import annotations

import dataclasses
import datetime as dt
from decimal import ROUND_CEILING, Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.charges import LineType
from billing.money import digits, from_minor
from billing.rating import Rating, rate
from billing.reasons import Reason
from billing.snapshot import (
    Component,
    Dimension,
    Element,
    Limit,
    ReservationKind,
    Restrictions,
    Rules,
    Snapshot,
    Tax,
)
from sessions.facts import Activity, Reservation, Segment, SessionFacts
from tests.billing.priced import CHARGING, RUNS, energy, flat, parking, plugged, tariff, time, when

D = Decimal
ZONES = ("Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC")
tried = settings(max_examples=RUNS, deadline=None)

prices = st.decimals("0", "9", places=4)
vats = st.sampled_from([None, D(0), D(7), D(19), D("8.1")])


@st.composite
def components(draw: st.DrawFn, kinds: tuple[Dimension, ...], *, steps: bool, taxed: bool = True) -> Component:
    step = draw(st.sampled_from([0, 1, 60, 500, 900])) if steps else 0
    return Component(draw(st.sampled_from(kinds)), draw(prices), step, draw(vats) if taxed else None)


@st.composite
def restrictions(draw: st.DrawFn, *, kwh: bool = True) -> Restrictions:
    """Restrictions that change on whole minutes."""
    given_ = {}
    if draw(st.booleans()):
        given_["start_minute"] = draw(st.integers(0, 1439))
    if draw(st.booleans()):
        given_["end_minute"] = draw(st.integers(1, 1440))
    if draw(st.booleans()):
        given_["days"] = tuple(sorted(draw(st.sets(st.integers(0, 6), min_size=1))))
    if draw(st.integers(0, 3)) == 0:
        given_["start_date"] = dt.date(2026, 3, 29)
    if draw(st.integers(0, 3)) == 0:
        given_["end_date"] = dt.date(2026, 10, 26)
    for name in ("min_duration", "max_duration"):
        if draw(st.integers(0, 2)) == 0:
            given_[name] = draw(st.integers(0, 600)) * 60
    if kwh:
        for name in ("min_kwh", "max_kwh"):
            if draw(st.integers(0, 2)) == 0:
                given_[name] = D(draw(st.integers(0, 60))) / 10
    return Restrictions(**given_)


@st.composite
def snapshots(
    draw: st.DrawFn, *, steps: bool = True, fees: bool = True, limits: bool = True, kwh: bool = True
) -> Snapshot:
    kinds = tuple(Dimension) if fees else (Dimension.ENERGY, Dimension.TIME, Dimension.PARKING_TIME)
    elements = draw(
        st.lists(
            st.builds(
                Element,
                st.lists(components(kinds, steps=steps), min_size=1, max_size=3).map(tuple),
                st.one_of(st.just(Restrictions()), restrictions(kwh=kwh)),
            ),
            min_size=1,
            max_size=4,
        )
    )
    amounts = st.one_of(st.none(), st.decimals("0", "20", places=2))
    low = Limit(draw(amounts), draw(amounts)) if limits else Limit()
    high = Limit(draw(amounts), draw(amounts)) if limits else Limit()
    return Snapshot(
        "T",
        draw(st.sampled_from(["EUR", "JPY", "KWD"])),
        draw(st.sampled_from(list(Tax))),
        tuple(elements),
        min_price=None if low == Limit() else low,
        max_price=None if high == Limit() else high,
    )


@st.composite
def sessions(draw: st.DrawFn) -> SessionFacts:
    """Up to ten hours near a change of the clock, in whole minutes; energy flows at 100 Wh a minute or not at all."""
    day = draw(st.sampled_from(["2026-03-28", "2026-03-29", "2026-04-04", "2026-07-01", "2026-10-24", "2026-10-25"]))
    start = dt.datetime.fromisoformat(f"{day}T00:00:00+00:00") + dt.timedelta(minutes=draw(st.integers(0, 1439)))
    here, segments = start, []
    for minutes, activity in draw(
        st.lists(st.tuples(st.integers(1, 150), st.sampled_from(list(Activity))), min_size=1, max_size=6)
    ):
        there = here + dt.timedelta(minutes=minutes)
        wh = D(100 * minutes) if activity is CHARGING else D(0)
        segments.append(Segment(here, there, wh, activity))
        here = there
    total = sum((s.energy_wh for s in segments), D(0))
    return SessionFacts(start, here, total, draw(st.sampled_from(ZONES)), tuple(segments))


def exact(rating: Rating) -> tuple[Decimal | None, Decimal | None]:
    return rating.excl_vat, rating.incl_vat


@tried
@given(snapshots(), sessions(), st.sampled_from([1, 10]))
def test_lines_add_up_to_the_total(snapshot: Snapshot, facts: SessionFacts, step: int) -> None:
    rating = rate(snapshot, facts, minor_step=step)
    assert rating.excl_vat is not None
    assert rating.incl_vat is not None
    assert sum((line.excl_vat or D(0) for line in rating.lines), D(0)) == rating.excl_vat
    assert sum((line.incl_vat or D(0) for line in rating.lines), D(0)) == rating.incl_vat
    assert rating.excl_vat + (rating.vat or 0) == rating.incl_vat
    assert sum(line.net_minor or 0 for line in rating.lines) == rating.net_minor
    assert sum(line.gross_minor or 0 for line in rating.lines) == rating.gross_minor
    assert (rating.net_minor or 0) + (rating.vat_minor or 0) == rating.gross_minor
    assert (rating.gross_minor or 0) % step == 0
    for total in rating.totals:
        assert (total.net_minor or 0) + (total.vat_minor or 0) == total.gross_minor
        assert {line.vat_rate for line in rating.lines} >= {total.rate}


@tried
@given(snapshots(), sessions())
def test_the_booked_amount_is_the_nearest_one(snapshot: Snapshot, facts: SessionFacts) -> None:
    rating = rate(snapshot, facts)
    half_units = len(rating.totals) or 1  # each VAT rate is rounded once
    if rating.gross_minor == 0 and (rating.incl_vat or 0) < 0:
        return
    distance = abs(from_minor(rating.gross_minor or 0, snapshot.currency) - (rating.incl_vat or 0))
    assert distance * 2 <= half_units * D(1).scaleb(-digits(snapshot.currency))


@tried
@given(snapshots(), sessions())
def test_the_same_input_gives_the_same_bytes(snapshot: Snapshot, facts: SessionFacts) -> None:
    again = Snapshot.from_json(snapshot.to_json())
    assert again == snapshot
    assert again.digest() == snapshot.digest()
    told = SessionFacts.from_json(facts.to_json())
    assert told == facts
    assert rate(again, told).digest() == rate(snapshot, facts).digest()
    assert rate(again, told) == rate(snapshot, facts)


@tried
@given(snapshots(), sessions())
def test_limits_hold(snapshot: Snapshot, facts: SessionFacts) -> None:
    rating = rate(snapshot, facts)
    low, high = snapshot.min_price or Limit(), snapshot.max_price or Limit()
    if "free_start" in {w.code for w in rating.warnings}:
        assert rating.lines == ()
        return
    for total, minor, least, most in (
        (rating.excl_vat, rating.net_minor, low.excl_vat, high.excl_vat),
        (rating.incl_vat, rating.gross_minor, low.incl_vat, high.incl_vat),
    ):
        assert total is not None
        both = least is not None and most is not None
        if most is not None:
            assert total <= most
        if least is not None and not (both and least > most) and not _moved(low, high):
            assert total >= least
        if most is not None and any(line.type is LineType.ADJUSTMENT for line in rating.lines):
            # The limits of these tariffs have two decimals; other currencies round them.
            assert from_minor(minor or 0, snapshot.currency) <= most or snapshot.currency == "JPY"


def _moved(low: Limit, high: Limit) -> bool:
    """Tell whether the maximum of one side may pull down the other one, which has no maximum."""
    return high != Limit() and None in (high.excl_vat, high.incl_vat)


@tried
@given(snapshots(steps=False, fees=False, limits=False), sessions(), st.data())
def test_cutting_a_session_changes_nothing(snapshot: Snapshot, facts: SessionFacts, data: st.DataObject) -> None:
    segments = []
    for segment in facts.segments:
        seconds = (segment.end - segment.start) // dt.timedelta(seconds=1)
        after = data.draw(st.integers(1, seconds - 1))
        middle = segment.start + dt.timedelta(seconds=after)
        # Two Wh a second, so that every cut is exact.
        wh = D(seconds) * 2 if segment.energy_wh else D(0)
        segments += [
            dataclasses.replace(segment, end=middle, energy_wh=wh * after / seconds),
            dataclasses.replace(segment, start=middle, energy_wh=wh - wh * after / seconds),
        ]
    total = sum((s.energy_wh for s in segments), D(0))
    cut = dataclasses.replace(facts, segments=tuple(segments), energy_wh=total)
    whole = dataclasses.replace(
        facts,
        energy_wh=total,
        segments=tuple(
            dataclasses.replace(a, end=b.end, energy_wh=a.energy_wh + b.energy_wh)
            for a, b in zip(segments[::2], segments[1::2], strict=True)
        ),
    )
    first, second = rate(snapshot, cut), rate(snapshot, whole)
    assert exact(first) == exact(second)
    assert [line.to_json() for line in first.lines] == [line.to_json() for line in second.lines]


@tried
@given(snapshots(steps=False, fees=False, limits=False, kwh=False), sessions(), st.data())
def test_more_energy_never_costs_less(snapshot: Snapshot, facts: SessionFacts, data: st.DataObject) -> None:
    """Prices are not negative, and no price falls with the energy."""
    which = data.draw(st.integers(0, len(facts.segments) - 1))
    more = data.draw(st.integers(1, 100_000))
    segments = list(facts.segments)
    segments[which] = dataclasses.replace(segments[which], energy_wh=segments[which].energy_wh + more)
    greedy = dataclasses.replace(facts, segments=tuple(segments), energy_wh=facts.energy_wh + more)
    before, after = rate(snapshot, facts), rate(snapshot, greedy)
    assert (after.incl_vat or 0) >= (before.incl_vat or 0)
    assert (after.gross_minor or 0) >= (before.gross_minor or 0)


@tried
@given(
    components((Dimension.ENERGY,), steps=True),
    st.integers(1, 10**6),
    st.integers(0, 10**6),
    st.sampled_from(list(Tax)),
)
def test_more_energy_at_one_price_never_costs_less(price: Component, wh: int, more: int, tax: Tax) -> None:
    bills = [
        rate(tariff(price, flat("1", "19"), tax=tax), plugged("2026-05-04 10:00", (CHARGING, 60, D(amount) / 1000)))
        for amount in (wh, wh + more)
    ]
    assert (bills[0].gross_minor or 0) <= (bills[1].gross_minor or 0)
    assert bills[0].lines[1].quantity == _up(D(wh) / 1000, D(price.step_size) / 1000)


def _up(amount: Decimal, step: Decimal) -> Decimal:
    return amount if not step else (amount / step).to_integral_value(ROUND_CEILING) * step


@tried
@given(snapshots(steps=False, limits=False), sessions())
def test_prices_agree_with_a_walk_minute_by_minute(snapshot: Snapshot, facts: SessionFacts) -> None:
    """Everything in these sessions changes on whole minutes, so the slowest possible reading of OCPI must agree."""
    zone = ZoneInfo(facts.time_zone)
    wh, cost, paid, starts = D(0), D(0), set(), 0
    for segment in facts.segments:
        for minute in range((segment.end - segment.start) // dt.timedelta(minutes=1)):
            now = segment.start + dt.timedelta(minutes=minute)
            local = now.astimezone(zone)
            flow = D(100) if segment.activity is CHARGING else D(0)
            amounts = {Dimension.ENERGY: flow / 1000}
            if segment.activity in (CHARGING, Activity.HELD):
                amounts[Dimension.TIME] = D(1) / 60
            if segment.activity is Activity.PARKING:
                amounts[Dimension.PARKING_TIME] = D(1) / 60
            for kind in Dimension:
                found = _first(snapshot, kind, local, (now - facts.start).total_seconds(), wh)
                if found is None:
                    continue
                if kind is Dimension.FLAT:
                    cost += 0 if found in paid else snapshot.elements[found[0]].components[found[1]].price
                    paid.add(found)
                else:
                    cost += amounts.get(kind, D(0)) * snapshot.elements[found[0]].components[found[1]].price
            wh += flow
            starts += 1
    rating = rate(snapshot, facts)
    if facts.energy_wh == 0 and starts < 2:
        assert rating.lines == ()
        return
    stated = rating.incl_vat if snapshot.tax is Tax.INCLUDED else rating.excl_vat
    assert abs((stated or 0) - cost) < D("1e-12")


def _first(
    snapshot: Snapshot, kind: Dimension, local: dt.datetime, seconds: float, wh: Decimal
) -> tuple[int, int] | None:
    for n, element in enumerate(snapshot.elements):
        for m, component in enumerate(element.components):
            if component.type is kind and _applies(element.restrictions, local, seconds, wh):
                return n, m
    return None


def _applies(r: Restrictions, local: dt.datetime, seconds: float, wh: Decimal) -> bool:
    minute = local.hour * 60 + local.minute
    start, end = r.start_minute or 0, 1440 if r.end_minute is None else r.end_minute
    return all(
        (
            start <= minute < end if start < end else minute >= start or minute < end,
            r.days is None or local.weekday() in r.days,
            r.start_date is None or local.date() >= r.start_date,
            r.end_date is None or local.date() < r.end_date,
            r.min_duration is None or seconds >= r.min_duration,
            r.max_duration is None or seconds < r.max_duration,
            r.min_kwh is None or wh >= r.min_kwh * 1000,
            r.max_kwh is None or wh < r.max_kwh * 1000,
        )
    )


@tried
@given(sessions(), st.integers(0, 2**20))
def test_odd_fractions_of_a_second_get_lost_nowhere(facts: SessionFacts, shift: int) -> None:
    """Whole seconds are counted from the edges, so that pieces never add up to another length."""
    moved = tuple(
        dataclasses.replace(
            s,
            start=s.start if n == 0 else s.start + dt.timedelta(microseconds=shift),
            end=s.end if n + 1 == len(facts.segments) else s.end + dt.timedelta(microseconds=shift),
            activity=CHARGING,
        )
        for n, s in enumerate(facts.segments)
    )
    clock = [when(time("3.6"), start_minute=m, end_minute=m + 7) for m in range(0, 1440, 11)]
    whole = tariff(*clock, time("3.6"), rules=Rules(free_start_seconds=0))
    rating = rate(whole, dataclasses.replace(facts, segments=moved))
    assert sum((line.quantity or 0 for line in rating.lines), D(0)).quantize(D("1e-9")) * 3600 == pytest.approx(
        facts.seconds, abs=D("1e-4")
    )
    assert rating.excl_vat == D(facts.seconds) / 1000


def test_segments_must_tell_the_energy_of_the_session() -> None:
    facts = plugged("2026-05-04 10:00", (CHARGING, 60, "10"))
    with pytest.raises(ValueError, match="add up"):
        rate(tariff(energy("0.50")), dataclasses.replace(facts, energy_wh=D(9999)))


def test_thirds_round_where_they_should() -> None:
    """Three times a third of 0.115 are 0.115, a tie that no sum of written thirds shows."""
    thirds = [when(time("0.115", 0, "19"), max_duration=n * 1200) for n in (1, 2, 3)]
    facts = plugged("2026-05-04 10:00", (CHARGING, 60, 1), (CHARGING, D(1600) / 60, 1))
    rating = rate(tariff(*thirds), facts)
    assert rating.excl_vat == D("0.115")
    assert rating.net_minor == 12
    assert sum(line.excl_vat or 0 for line in rating.lines) == D("0.115")
    # Nor may the rest of the bill take from them what makes the tie.
    rating = rate(tariff(*thirds, time("1", 0, "7")), facts)
    assert [(total.rate, total.net_minor) for total in rating.totals] == [(D(7), 44), (D(19), 12)]


def test_a_threshold_is_reached_when_the_energy_says_so() -> None:
    """1 kWh in the first hour and 9 in the second make 2 kWh after 66 min 40 s, not after 24 min."""
    facts = plugged("2026-05-04 10:00", (CHARGING, 60, 1), (CHARGING, 60, 9))
    rating = rate(tariff(when(time("3.60"), min_kwh="2"), time("0")), facts)
    assert rating.lines[1].start == dt.datetime(2026, 5, 4, 11, 6, 40, tzinfo=dt.UTC)
    assert rating.excl_vat == D("3.20")


def test_every_number_of_a_rating_can_be_read_as_json() -> None:
    reservation = Reservation(
        dt.datetime(2026, 5, 4, 9, 47, tzinfo=dt.UTC), dt.datetime(2026, 5, 4, 10, 0, tzinfo=dt.UTC)
    )
    snapshot = tariff(
        when(time("5", 300, "20"), reservation=ReservationKind.RESERVATION),
        when(energy("0.40", 1, "19"), max_kwh="5", days=(0,)),
        energy("0.50", 1, "19"),
        parking("6", 60, "19"),
        max_price=Limit(D(4)),
        rules=Rules(idle_grace_seconds=60),
    )
    facts = plugged(
        "2026-05-04 10:00", (CHARGING, 60, "10"), (Activity.PARKING, 30), zone="Europe/Berlin", reservation=reservation
    )
    told = rate(snapshot, facts).to_json()
    assert told["engine"] == "1"
    assert (told["excl_vat"], told["totals"][0]["vat_rate"]) == ("4", "19")
    assert told["lines"][1] == {
        "type": "ENERGY",
        "quantity": "5",
        "unit": "kWh",
        "unit_price": "0.4",
        "excl_vat": "2",
        "incl_vat": "2.38",
        "vat_rate": "19",
        "start": "2026-05-04T10:00:00Z",
        "end": "2026-05-04T10:30:00Z",
        "reason": {"code": "energy", "params": {"element": "2", "days": "0", "kwh": "..5"}},
        "net_minor": 200,
        "gross_minor": 238,
    }
    assert [line["reason"]["code"] for line in told["lines"]] == [
        "reservation_time", "energy", "energy", "parking_time", "maximum_price", "maximum_price",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ((("kwh", "5.."),), "energy, from 5 kWh"),
        ((("kwh", "5..10"), ("power", "..16")), "energy, from 5 to below 10 kWh, below 16 kW"),
        ((("days", "0,6"), ("clock", "22:00-06:00")), "energy, Mon Sun, 22:00 to 06:00"),
        ((("dates", "2026-12-24/"),), "energy, from 2026-12-24"),
        ((("dates", "2026-12-24/2026-12-26"),), "energy, from 2026-12-24 before 2026-12-26"),
        ((("duration", "..1800"), ("current", "32..")), "energy, below 1800 s, from 32 A"),
    ],
)
def test_reasons_in_words(params: tuple[tuple[str, str], ...], text: str) -> None:
    assert Reason("energy", params).text == text
