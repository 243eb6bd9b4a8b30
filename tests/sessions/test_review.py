"""Decisions about doubtful sessions: once, by a person, and afterwards nothing moves."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from accounts.models import AuditEntry, Membership, Operator
from billing import books
from billing.models import Document, LedgerTxn, SessionBill
from billing.review import decide
from sessions import review
from sessions.models import HOLDS, ReviewReason
from stations.models import Station
from tests.charger import Charger, meter, start, stop
from tests.factories import make_driver, make_token
from tests.sessions import scene

NOW = scene.world.at("2026-11-11 09:00")


@pytest.fixture
def pole(tenant: Operator) -> Station:
    scene.publish(tenant)
    return scene.station(tenant)


@pytest.mark.django_db
class TestHeld:
    @pytest.mark.parametrize("reason", sorted(HOLDS))
    def test_each_holding_reason_is_found(self, pole: Station, owner: Membership, reason: str) -> None:
        held = scene.ended(pole, review=["clock_offset", reason], settled=False)
        scene.ended(pole, review=["clock_offset", "tag_differs"], settled=False)
        scene.ended(pole, review=[reason], released_at=NOW, settled=False)
        scene.running(pole, review=[reason])
        assert list(review.held_sessions(owner)) == [held]

    def test_only_those_of_the_own_operator_and_sites(
        self, pole: Station, owner: Membership, technician: Membership, stranger: Membership
    ) -> None:
        held = scene.ended(pole, review=["jump"], settled=False)
        technician.all_sites, technician.site_ids = False, [pole.site_id]
        elsewhere = scene.ended(scene.station(pole.operator), review=["jump"], settled=False)
        assert set(review.held_sessions(owner)) == {held, elsewhere}
        assert list(review.held_sessions(technician)) == [held]
        assert not review.held_sessions(stranger).exists()


@pytest.mark.django_db
class TestDecide:
    def test_released_it_costs_what_was_reckoned(self, pole: Station, owner: Membership) -> None:
        session = scene.ended(pole, review=["jump"])
        assert scene.bill_of(session).held_reason == SessionBill.Held.REVIEW
        bill = decide(session, free=False, by=owner, at=NOW)
        assert (bill.state, bill.incl_vat_minor) == ("rated", 1529)
        session.refresh_from_db()
        assert (session.released_at, session.released_by) == (NOW, str(owner))
        assert session.review == ["jump"]
        [entry] = AuditEntry.objects.filter(action="session.released")
        assert (entry.user, entry.target_id) == (owner.user, str(session.uuid))
        assert entry.facts == {"review": ["jump"], "energy_wh": "31204.000"}
        assert Document.objects.filter(sessions=session).count() == 1
        assert books.check(NOW)["ok"]

    def test_made_free_it_costs_nothing_and_keeps_what_was_measured(self, pole: Station, owner: Membership) -> None:
        session = scene.ended(pole, review=["over_power"])
        facts = session.facts
        bill = decide(session, free=True, by=owner, at=NOW)
        assert (bill.state, bill.incl_vat_minor, bill.rating["lines"]) == ("rated", 0, [])
        session.refresh_from_db()
        assert session.energy_wh == Decimal("31204")
        assert session.review == ["over_power", "waived"]
        [entry] = AuditEntry.objects.filter(action="session.made_free")
        assert entry.facts["before"] == facts
        assert not Document.objects.exists()
        assert not LedgerTxn.objects.exists()
        assert books.check(NOW)["ok"]

    @pytest.mark.parametrize("free", [False, True])
    def test_a_decision_is_made_once(self, pole: Station, owner: Membership, free: bool) -> None:
        session = scene.ended(pole, review=["jump"])
        decide(session, free=free, by=owner, at=NOW)
        for again in (False, True):
            with pytest.raises(review.NotHeld):
                decide(session, free=again, by=owner, at=NOW)
        assert AuditEntry.objects.filter(action__startswith="session.").count() == 1
        assert SessionBill.objects.get().incl_vat_minor == (0 if free else 1529)

    def test_neither_a_running_session_nor_a_plain_one(self, pole: Station, owner: Membership) -> None:
        for session in (
            scene.running(pole, review=["token_refused"]),
            scene.ended(pole),
            scene.ended(pole, review=["superseded"]),
        ):
            with pytest.raises(review.NotHeld):
                review.release(session, by=owner, at=NOW)
        assert not AuditEntry.objects.filter(action__startswith="session.").exists()

    def test_without_a_tariff_it_is_still_held(self, tenant: Operator, owner: Membership) -> None:
        session = scene.ended(scene.station(tenant), review=["jump"])
        bill = decide(session, free=False, by=owner, at=NOW)
        assert (bill.state, bill.held_reason) == ("held", "no_tariff")


@pytest.mark.django_db(transaction=True)
def test_what_a_station_says_later_changes_nothing_any_more(tenant: Operator, owner: Membership) -> None:
    """E.g. the missing events of a 2.x session arrive after its bill was decided (OCPP 2.0.1 E04, E12)."""
    scene.publish(tenant)
    pole = scene.station(tenant, online=False)
    token = make_token(tenant, driver=make_driver(tenant))
    began = scene.world.at("2026-11-10 17:00")
    charger = Charger(pole, "2.0.1", at=began)
    charger.say(*start("2.0.1", ref="t1", token=token.value, meter=1000, at=began), at=began)
    end = began + dt.timedelta(minutes=30)
    charger.say(*stop("2.0.1", ref="t1", meter=6000, at=end, seq=5), at=end)  # 1 to 4 are missing
    session = scene.ChargingSession.objects.get()
    assert session.review == [ReviewReason.SEQ_GAP]
    scene.settlement.settle(session.pk, now=end)
    decide(session, free=True, by=owner, at=NOW)
    session.refresh_from_db()
    facts = session.facts_digest
    for seq in range(1, 5):
        at = began + dt.timedelta(minutes=5 * seq)
        charger.say(*meter("2.0.1", ref="t1", wh=1000 + 500 * seq, at=at, seq=seq), at=NOW)
    session.refresh_from_db()
    assert session.readings.count() == 6
    assert session.facts_digest == facts
    assert SessionBill.objects.get().incl_vat_minor == 0
    assert books.check(NOW + dt.timedelta(hours=1))["ok"]
