"""Tokens: compared without case inside one operator, PINs never readable, groups, retirement."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from accounts import tokens
from accounts.models import AuditEntry, IdToken, Membership, Operator
from tests.factories import NOW, make_driver, make_token

pytestmark = pytest.mark.django_db


def everything_stored() -> str:
    """Return all the text in all tables of people and access."""
    with connection.cursor() as cursor:
        names = [name for name in connection.introspection.table_names(cursor) if name.startswith("accounts_")]
        rows = []
        for name in names:
            cursor.execute(f'SELECT * FROM "{name}"')
            rows += cursor.fetchall()
    return "\n".join(str(value) for row in rows for value in row)


@pytest.mark.parametrize("presented", ["04a2b3C4", "04A2B3C4", "04a2b3c4"])
def test_a_card_is_found_in_any_case(tenant: Operator, presented: str) -> None:
    card = make_token(tenant, "04A2B3C4")
    assert tokens.find_token(tenant.pk, presented) == card


@pytest.mark.parametrize("presented", [" 04A2B3C4", "04A2B3C4 ", "04A2B3C", "", "\u212a1", "04A2B3C4\0"])
def test_nothing_is_trimmed_or_folded_into_a_card(tenant: Operator, presented: str) -> None:
    make_token(tenant, "04A2B3C4")
    make_token(tenant, "K1")
    assert tokens.find_token(tenant.pk, presented) is None


def test_another_operators_card_is_unknown(tenant: Operator, other_tenant: Operator) -> None:
    make_token(other_tenant, "04A2B3C4")
    assert tokens.find_token(tenant.pk, "04A2B3C4") is None


@pytest.mark.parametrize("type", ["rfid", "pin"])
def test_finding_takes_one_query(tenant: Operator, type: str, django_assert_num_queries) -> None:
    make_token(tenant, "123456", type=type, driver=make_driver(tenant))
    with django_assert_num_queries(1):
        found = tokens.find_token(tenant.pk, "123456")
        assert found is not None
        assert found.driver_id is not None
        assert found.driver_retired_at is None


def test_a_pin_works_and_can_be_read_nowhere(tenant: Operator, owner: Membership) -> None:
    issued = tokens.create_token(tenant, type="pin", by=owner)
    assert len(issued.presented) == 6
    assert issued.presented.isdigit()
    assert tokens.find_token(tenant.pk, issued.presented) == issued.token
    tokens.block(issued.token, by=owner)
    tokens.retire(issued.token, by=owner, at=NOW)
    assert issued.presented not in everything_stored()
    assert issued.presented not in str(issued.token)


def test_what_is_stored_of_a_pin_opens_nothing(tenant: Operator) -> None:
    pin = make_token(tenant, "4711000", type="pin")
    assert tokens.find_token(tenant.pk, pin.value) is None


def test_a_pin_is_found_after_a_new_key_writes(tenant: Operator, settings) -> None:
    pin = make_token(tenant, "4711000", type="pin")
    settings.CREDENTIAL_KEYS = {"Later": b"another key of thirty-two bytes!", **settings.CREDENTIAL_KEYS}
    assert tokens.find_token(tenant.pk, "4711000") == pin
    with pytest.raises(tokens.TokenTaken):
        make_token(tenant, "4711000", type="pin")
    second = make_token(tenant, "4711001", type="pin")
    assert second.value.startswith("Later$")
    assert tokens.find_token(tenant.pk, "4711001") == second


@pytest.mark.parametrize(
    ("first", "second"), [("rfid", "rfid"), ("rfid", "app"), ("rfid", "pin"), ("pin", "rfid"), ("pin", "pin")]
)
def test_a_value_exists_once_per_operator_over_all_types(
    tenant: Operator, other_tenant: Operator, first: str, second: str
) -> None:
    make_token(tenant, "123456", type=first)
    with pytest.raises(tokens.TokenTaken) as caught:
        make_token(tenant, "123456", type=second)
    assert caught.value.code == "token_taken"
    assert IdToken.objects.count() == 1
    make_token(other_tenant, "123456", type=second)


@pytest.mark.parametrize(
    ("type", "value"),
    [
        ("rfid", ""),
        ("rfid", "ä"),
        ("rfid", "a\n"),
        ("rfid", "a" * 256),
        ("pin", "12345"),
        ("pin", "12345a"),
        ("pin", "1" * 13),
        ("pin", "１２３４５６"),
        ("card", "1"),
    ],
)
def test_a_wrong_value_is_refused(tenant: Operator, type: str, value: str) -> None:
    with pytest.raises(ValidationError):
        tokens.create_token(tenant, type=type, value=value, by=None)
    assert not IdToken.objects.exists()
    assert not AuditEntry.objects.exists()


def test_app_tokens_fit_into_every_protocol_version(tenant: Operator) -> None:
    values = {tokens.create_token(tenant, type="app", by=None).presented for _ in range(20)}
    assert len(values) == 20
    assert all(len(value) <= 20 for value in values)


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=40))
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert tokens.normalise(tokens.normalise(text)) == tokens.normalise(text) == tokens.normalise(text.upper())


def test_a_change_is_told_before_and_after(tenant: Operator, owner: Membership) -> None:
    card = make_token(tenant, "04A2B3C4D5", group="vans")
    until = NOW + dt.timedelta(days=1)
    changed = tokens.change_token(card, by=owner, group="trucks", expires_at=until, label="")
    entry = AuditEntry.objects.get(action="token.changed")
    assert entry.facts == {
        "before": {"group": "vans", "expires_at": None},
        "after": {"group": "trucks", "expires_at": until.isoformat()},
    }
    assert entry.user == owner.user
    assert "04A2B3C4" not in json.dumps(entry.facts) + entry.target
    assert changed.updated_at > card.updated_at


def test_changing_nothing_leaves_no_trace(tenant: Operator, owner: Membership) -> None:
    card = make_token(tenant, group="vans")
    same = tokens.change_token(card, by=owner, group="vans")
    assert same.updated_at == card.updated_at
    assert not AuditEntry.objects.filter(action="token.changed").exists()


def test_a_driver_or_station_of_another_operator_is_refused(tenant: Operator, other_tenant: Operator) -> None:
    card = make_token(tenant)
    with pytest.raises(ValidationError):
        tokens.change_token(card, by=None, driver=make_driver(other_tenant))
    with pytest.raises(ValidationError):
        tokens.change_token(card, by=None, stations=["0193b1f0-0000-7000-8000-000000000000"])
    card.refresh_from_db()
    assert card.driver is None
    assert card.stations == []


def test_a_retired_card_is_unknown_and_may_be_handed_out_anew(tenant: Operator, owner: Membership) -> None:
    old = make_token(tenant, "04A2B3C4")
    tokens.retire(old, by=owner, at=NOW)
    assert tokens.find_token(tenant.pk, "04A2B3C4") is None
    for change in (lambda: tokens.unblock(old, by=owner), lambda: tokens.retire(old, by=owner, at=NOW)):
        with pytest.raises(tokens.TokenRetired):
            change()
    new = make_token(tenant, "04a2b3c4")
    assert tokens.find_token(tenant.pk, "04A2B3C4") == new


def test_who_may_stop_a_session(tenant: Operator, other_tenant: Operator) -> None:
    starter = make_token(tenant, group="Family")
    same_group = make_token(tenant, group="family")
    assert tokens.may_stop(starter, starter, at=NOW)
    assert tokens.may_stop(same_group, starter, at=NOW)
    assert not tokens.may_stop(make_token(tenant, group="other"), starter, at=NOW)
    assert not tokens.may_stop(make_token(tenant), make_token(tenant), at=NOW)
    assert not tokens.may_stop(make_token(other_tenant, group="Family"), starter, at=NOW)
    assert not tokens.may_stop(starter, None, at=NOW)


def test_a_blocked_or_expired_card_of_the_group_must_not_stop(tenant: Operator) -> None:
    starter = make_token(tenant, group="Family")
    blocked = make_token(tenant, group="Family", status="blocked")
    expired = make_token(tenant, group="Family", expires_at=NOW)
    assert not tokens.may_stop(blocked, starter, at=NOW)
    assert not tokens.may_stop(expired, starter, at=NOW)
    assert tokens.may_stop(blocked, blocked, at=NOW), "a card blocked meanwhile still ends its own session"
