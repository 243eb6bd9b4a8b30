"""Plain functions that make rows; whatever a test does not care about is made up."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

from accounts import tokens
from accounts.api_keys import create_api_key
from accounts.models import ApiKey, Driver, IdToken, Membership, Operator, User
from accounts.roles import Role
from stations.models import Connector, Gateway, Site, Station

PASSWORD = "correct horse battery"
NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
_number = itertools.count(1)


def make_operator(slug: str = "", **fields: Any) -> Operator:
    slug = slug or f"operator-{next(_number)}"
    return Operator.objects.create(**{"name": slug.title(), "slug": slug} | fields)


def make_person(email: str = "", password: str | None = PASSWORD, **fields: Any) -> User:
    email = email or f"person{next(_number)}@example.com"
    return User.objects.create_user(email, password, **{"name": email.partition("@")[0].title()} | fields)


def make_member(operator: Operator, role: Role = Role.OWNER, user: User | None = None, **fields: Any) -> Membership:
    return Membership.objects.create(operator=operator, user=user or make_person(), role=role, **fields)


def make_driver(operator: Operator, *, user: User | None = None, **fields: Any) -> Driver:
    return Driver.objects.create(operator=operator, user=user, **{"name": f"Driver {next(_number)}"} | fields)


def make_token(operator: Operator, value: str = "", *, type: str = IdToken.Type.RFID, **facts: Any) -> IdToken:
    value = value or ("" if type == IdToken.Type.PIN else f"04A1B2C3{next(_number):06X}")
    return tokens.create_token(operator, type=type, value=value, by=None, **facts).token


def make_api_key(operator: Operator, role: Role = Role.OWNER) -> tuple[ApiKey, str]:
    return create_api_key(operator, name=f"Key {next(_number)}", role=role, by=None)


def make_site(operator: Operator, name: str = "", **fields: Any) -> Site:
    return Site.objects.create(
        operator=operator,
        **{"name": name or f"Site {next(_number)}", "time_zone": "Europe/Berlin", "country": "DE"} | fields,
    )


def make_station(site: Site, identity: str = "", *, connectors: int = 0, **fields: Any) -> Station:
    """Return a station; ``connectors`` EVSEs with one connector each."""
    identity = identity or f"ST-{next(_number)}"
    station = Station.objects.create(
        operator=site.operator, site=site, identity=identity, **{"name": identity} | fields
    )
    for number in range(1, connectors + 1):
        evse = station.evses.create(number=number)
        Connector.objects.create(evse=evse, number=number, status="Available", since=NOW, reported_at=NOW)
    return station


def connect(station: Station, protocol: str = "1.6", *, at: dt.datetime | None = None) -> Station:
    """Let a station be held by a gateway that lives."""
    at = at or dt.datetime.now(dt.UTC)
    Gateway.objects.update_or_create(id="gw", defaults={"lease_at": at, "started_at": at})
    station.gateway, station.protocol = "gw", protocol
    station.connected_at = station.last_seen_at = at
    station.save()
    return station
