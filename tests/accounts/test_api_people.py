"""The API about operator, drivers, tokens and audit: rows of one's own operator, personal data for those who may."""

from __future__ import annotations

import pytest

from accounts.models import AuditEntry, Driver, IdToken, Operator
from accounts.roles import ABILITIES, Ability, Role
from tests.factories import NOW, make_driver, make_token

pytestmark = pytest.mark.django_db
DRIVERS, TOKENS, AUDIT = "/api/v1/drivers/", "/api/v1/tokens/", "/api/v1/audit/"


@pytest.fixture
def station(tenant: Operator):
    site = tenant.sites.create(name="Pier", time_zone="Europe/Berlin", country="DE")
    return tenant.stations.create(site=site, identity="PIER-1", name="Pier 1")


def test_the_operator_of_the_key(program, tenant: Operator) -> None:
    assert program(Role.VIEWER).get("/api/v1/operators/me/").json() == {
        "id": str(tenant.uuid),
        "name": "Lighthouse Charging",
        "slug": "lighthouse",
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "country": "DE",
        "role": "viewer",
        "abilities": ["see_money", "see_sessions", "see_stations"],
    }


def test_a_token_from_creation_to_retirement(program, tenant: Operator, station) -> None:
    client = program(Role.OPERATOR)
    driver = make_driver(tenant)
    made = client.post(
        TOKENS,
        {
            "value": "04A2B3C4",
            "type": "rfid",
            "status": "active",
            "expires_at": "2027-01-01T00:00:00Z",
            "group": "vans",
            "driver": str(driver.uuid),
            "stations": ["PIER-1"],
        },
    )
    assert made.status_code == 201
    token = IdToken.objects.get()
    assert (token.value, token.driver, token.stations) == ("04A2B3C4", driver, [str(station.uuid)])
    url = f"{TOKENS}{made.json()['id']}/"
    shown = client.get(url).json()
    assert shown == made.json()
    assert shown == {
        "id": str(token.uuid),
        "value": "04A2B3C4",
        "type": "rfid",
        "status": "active",
        "label": "",
        "group": "vans",
        "driver": str(driver.uuid),
        "expires_at": "2027-01-01T00:00:00Z",
        "stations": ["PIER-1"],
        "concurrent": False,
        "retired_at": None,
        "created_at": shown["created_at"],
        "updated_at": shown["updated_at"],
    }
    changed = client.patch(url, {"status": "blocked", "driver": None, "stations": [], "expires_at": None}).json()
    assert (changed["status"], changed["driver"], changed["stations"], changed["expires_at"]) == (
        "blocked",
        None,
        [],
        None,
    )
    assert changed["group"] == "vans"
    assert client.delete(url).status_code == 204
    assert client.get(url).json()["retired_at"] is not None
    again = client.patch(url, {"status": "active"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "token_retired")
    told = AuditEntry.objects.order_by("pk").values_list("action", "actor")
    assert [action for action, _actor in told] == ["api_key.created", "token.created", "token.changed", "token.retired"]
    assert all(actor.startswith("API key") for _action, actor in told[1:])


@pytest.mark.parametrize("field", ["value", "type"])
def test_value_and_type_stay(program, tenant: Operator, field: str) -> None:
    token = make_token(tenant, "04A2")
    answer = program().patch(f"{TOKENS}{token.uuid}/", {field: "app"})
    assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, [field])


def test_a_value_is_taken_as_it_is(program) -> None:
    assert program().post(TOKENS, {"value": " 04A2 ", "type": "rfid"}).json()["value"] == " 04A2 "


def test_pins_and_app_tokens_are_generated(program) -> None:
    client = program()
    pin = client.post(TOKENS, {"type": "pin"}).json()
    assert len(pin["value"]) >= 6
    assert client.get(f"{TOKENS}{pin['id']}/").json()["value"] is None
    app = client.post(TOKENS, {"type": "app"}).json()
    assert 6 <= len(app["value"]) <= 20
    assert client.get(f"{TOKENS}{app['id']}/").json()["value"] == app["value"]
    rfid = client.post(TOKENS, {"type": "rfid"})
    assert (rfid.status_code, list(rfid.json()["error"]["fields"])) == (400, ["value"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"driver": "0193b1f0-0000-7000-8000-000000000000"}, "driver"),
        ({"driver": "other"}, "driver"),
        ({"driver": "retired"}, "driver"),
        ({"stations": ["NOWHERE"]}, "stations"),
        ({"stations": "PIER-1"}, "stations"),
        ({"stations": [[]]}, "stations.0"),
        ({"expires_at": "222222017"}, "expires_at"),
        ({"group": "g" * 37}, "group"),
        ({"concurrent": "perhaps"}, "concurrent"),
    ],
)
def test_wrong_facts_are_told_by_field(
    program, tenant: Operator, other_tenant: Operator, body: dict, field: str
) -> None:
    rows = {"other": make_driver(other_tenant), "retired": make_driver(tenant, retired_at=NOW)}
    if body.get("driver") in rows:
        body = {"driver": str(rows[body["driver"]].uuid)}
    answer = program().post(TOKENS, {"value": "04A2", "type": "rfid", **body})
    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == [field]
    assert not IdToken.objects.exists()


def test_lists_can_be_narrowed(program, tenant: Operator) -> None:
    driver = make_driver(tenant)
    wanted = make_token(tenant, "04A2", driver=driver, group="Vans", status="blocked")
    pin = make_token(tenant, "777777", type="pin")
    make_token(tenant, "04B2")
    client = program()

    def ids(query: str) -> set[str]:
        answer = client.get(f"{TOKENS}?{query}")
        assert answer.status_code == 200
        return {row["id"] for row in answer.json()["results"]}

    for query in ("value=04a2", "status=blocked", f"driver={driver.uuid}", "group=vans"):
        assert ids(query) == {str(wanted.uuid)}
    assert ids("value=777777") == {str(pin.uuid)} == ids("type=pin")
    assert ids(f"value={pin.value.replace('$', '%24')}") == set()
    assert len(ids("retired=false")) == 3
    assert ids("retired=true") == set()


@pytest.mark.parametrize("query", ["status=lost", "driver=1", "type=__import__"])
def test_a_filter_that_makes_no_sense_is_told(program, query: str) -> None:
    answer = program().get(f"{TOKENS}?{query}")
    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == [query.partition("=")[0]]


@pytest.mark.parametrize(
    "query", ["operator__slug=rival", "driver__user__password__startswith=a", "id__gt=0", "ordering=-value"]
)
def test_filters_lead_nowhere_else(program, tenant: Operator, other_tenant: Operator, query: str) -> None:
    mine = make_token(tenant)
    make_token(other_tenant)
    rows = program().get(f"{TOKENS}?{query}").json()["results"]
    assert [row["id"] for row in rows] == [str(mine.uuid)]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.TECHNICIAN])
def test_roles_without_sight_of_people_get_them_masked(program, tenant: Operator, role: Role) -> None:
    driver = make_driver(tenant, name="Dana Driver", email="dana@example.com")
    token = make_token(tenant, "04A2B3C4D5E6F7", driver=driver, label="Dana's card")
    client = program(role)
    for url in (DRIVERS, f"{DRIVERS}{driver.uuid}/", TOKENS, f"{TOKENS}{token.uuid}/"):
        text = client.get(url).content.decode()
        assert "Dana" not in text
        assert "dana@" not in text
        assert "04A2B3C4" not in text
    assert client.get(f"{TOKENS}{token.uuid}/").json()["value"] == "…E6F7"
    for query in ("value=04A2B3C4D5E6F7", "label=Dana", f"driver={driver.uuid}"):
        assert client.get(f"{TOKENS}?{query}").status_code == 403
    for query in ("name=Dana", "email=dana@example.com"):
        assert client.get(f"{DRIVERS}?{query}").status_code == 403


@pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN, Role.OPERATOR, Role.FINANCE])
def test_roles_with_sight_of_people_get_them_whole(program, tenant: Operator, role: Role) -> None:
    driver = make_driver(tenant, name="Dana Driver", email="dana@example.com")
    shown = program(role).get(f"{DRIVERS}{driver.uuid}/").json()
    assert (shown["name"], shown["email"]) == ("Dana Driver", "dana@example.com")


def test_a_driver_is_made_and_changed(program) -> None:
    client = program(Role.OPERATOR)
    made = client.post(DRIVERS, {"name": "Dan", "email": "dan@example.com"}).json()
    changed = client.patch(f"{DRIVERS}{made['id']}/", {"group": "staff"}).json()
    assert changed == {**made, "group": "staff"}
    assert Driver.objects.get().group == "staff"
    assert (made["has_log_in"], made["retired_at"]) == (False, None)
    entry = AuditEntry.objects.get(action="driver.changed")
    assert entry.facts == {"fields": ["group"]}


def test_the_audit_trail_is_read_only_and_filtered(program, tenant: Operator) -> None:
    token = make_token(tenant)
    client = program()
    client.patch(f"{TOKENS}{token.uuid}/", {"status": "blocked"})
    rows = client.get(f"{AUDIT}?target_id={token.uuid}").json()["results"]
    assert [row["action"] for row in rows] == ["token.changed", "token.created"]
    one = client.get(f"{AUDIT}{rows[0]['id']}/").json()
    assert one == rows[0]
    assert one["facts"] == {"before": {"status": "active"}, "after": {"status": "blocked"}}
    assert client.get(f"{AUDIT}?action=token.created").json()["results"] == [rows[1]]
    assert client.get(f"{AUDIT}?since=2999-01-01T00:00:00Z").json()["results"] == []
    for method in ("post", "patch", "put", "delete"):
        assert getattr(client, method)(f"{AUDIT}{rows[0]['id']}/").status_code == 405


ADDRESSES = [
    ("get", "/api/v1/operators/me/", Ability.SEE_STATIONS),
    ("get", DRIVERS, Ability.SEE_SESSIONS),
    ("post", DRIVERS, Ability.EDIT_TOKENS),
    ("get", DRIVERS + "{driver}/", Ability.SEE_SESSIONS),
    ("patch", DRIVERS + "{driver}/", Ability.EDIT_TOKENS),
    ("get", TOKENS, Ability.SEE_SESSIONS),
    ("post", TOKENS, Ability.EDIT_TOKENS),
    ("get", TOKENS + "{token}/", Ability.SEE_SESSIONS),
    ("patch", TOKENS + "{token}/", Ability.EDIT_TOKENS),
    ("delete", TOKENS + "{token}/", Ability.EDIT_TOKENS),
    ("get", AUDIT, Ability.SEE_AUDIT),
    ("get", AUDIT + "{entry}/", Ability.SEE_AUDIT),
]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(("method", "address", "ability"), ADDRESSES)
def test_the_role_matrix(program, tenant: Operator, role: Role, method: str, address: str, ability: Ability) -> None:
    rows = {
        "driver": make_driver(tenant).uuid,
        "token": make_token(tenant).uuid,
        "entry": AuditEntry.objects.first().uuid,
    }
    answer = getattr(program(role), method)(address.format(**rows))
    if ability in ABILITIES[role]:
        assert answer.status_code in {200, 201, 204, 400}
    else:
        assert answer.status_code == 403


@pytest.mark.parametrize(("method", "address", "_ability"), [row for row in ADDRESSES if "{" in row[1]])
def test_rows_of_another_operator_do_not_exist(
    program, other_tenant: Operator, tenant: Operator, method: str, address: str, _ability: Ability
) -> None:
    token = make_token(tenant, driver=make_driver(tenant))
    rows = {"driver": token.driver.uuid, "token": token.uuid, "entry": AuditEntry.objects.get().uuid}
    before = (list(Driver.objects.values()), list(IdToken.objects.values()))
    answer = getattr(program(Role.OWNER, other_tenant), method)(address.format(**rows))
    assert answer.status_code == 404
    assert (list(Driver.objects.values()), list(IdToken.objects.values())) == before


def test_lists_hold_ones_own_rows_only(program, tenant: Operator, other_tenant: Operator) -> None:
    make_token(tenant, driver=make_driver(tenant))
    client = program(Role.OWNER, other_tenant)
    for url in (TOKENS, DRIVERS):
        assert client.get(url).json()["results"] == []
    assert [row["action"] for row in client.get(AUDIT).json()["results"]] == ["api_key.created"]


@pytest.mark.parametrize("url", [TOKENS, DRIVERS, AUDIT])
def test_a_list_asks_the_database_the_same_for_any_number_of_rows(
    program, tenant: Operator, station, url: str, django_assert_max_num_queries
) -> None:
    client = program()
    client.get(url)
    for number in (3, 30):
        for _ in range(number):
            make_token(tenant, driver=make_driver(tenant), stations=[str(station.uuid)])
        with django_assert_max_num_queries(5):
            client.get(url)
