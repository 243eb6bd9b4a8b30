"""From the wizard to a charger that charges, and from an unknown knock to a station: page by page, dial by dial."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from accounts.models import Membership, Operator
from stations.models import RefusedConnection, Station
from tests.factories import make_site
from tests.fakes.station import FakeStation
from tests.live_server import LiveServer, db, eventually

pytestmark = pytest.mark.django_db(transaction=True)

VERSIONS = ["1.6", "2.0.1", "2.1"]


@pytest.fixture
def site_id(tenant: Operator) -> str:
    return str(make_site(tenant, "Quay").uuid)


def words(html: str) -> str:
    return re.sub(r"[\s\xa0]+", " ", re.sub(r"<[^>]+>", " ", html))


async def refused(station: FakeStation) -> int:
    with pytest.raises(InvalidStatus) as no:
        await station.connect()
    return no.value.response.status_code


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_page_watches_a_new_charger_come(
    server: LiveServer, owner: Membership, site_id: str, version: Any
) -> None:
    browser = await server.browser(owner)
    form = {"site": site_id, "identity": "NEW/1 a", "security_profile": "1"}
    card = await browser.post("/console/stations/new/", form)
    assert card.status_code == 200
    password = re.search(r"<code>([0-9a-f]{40})</code>", card.text)
    assert password is not None
    assert "/ocpp/NEW%2F1%20a" in card.text
    station = await db(Station.objects.get)
    waiting = f"/console/stations/{station.uuid}/waiting/"

    async def shows(text: str) -> None:
        for _try in range(50):
            if text in words((await browser.get(waiting)).text):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(words((await browser.get(waiting)).text))

    assert await refused(FakeStation(server.ocpp, "NEW/1 a", "not the password at all", version)) == 401
    await shows("Its password is wrong.")
    async with FakeStation(server.ocpp, "NEW/1 a", password[1], version) as charger:
        await shows(f"Connected, version agreed : done OCPP {version}")
        await charger.boot(vendor="Acme", model="X1")
        await charger.status(1)
        await shows("It is here")
        await shows("Acme X1")


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_unknown_charger_is_adopted_and_let_in(
    server: LiveServer, owner: Membership, site_id: str, version: Any
) -> None:
    browser = await server.browser(owner)
    charger = FakeStation(server.ocpp, "STRAY-1", "its own password", version)
    assert await refused(charger) == 404
    assert "STRAY-1" in (await browser.get("/console/refused/")).text
    adopted = await browser.post("/console/refused/adopt/", {"identity": "STRAY-1", "site": site_id})
    assert adopted.status_code == 200
    assert await db(RefusedConnection.objects.count) == 0
    station = await db(Station.objects.get)
    async with charger:
        assert (await charger.boot())["status"] == "Pending"
        del charger.answers["TriggerMessage"]
        letting = await browser.post(f"/console/stations/{station.uuid}/registration/", {"registration": "accepted"})
        assert letting.status_code == 302
        call = await charger.expect_call("TriggerMessage")
        assert call.payload == {"requestedMessage": "BootNotification"}
        charger.reply(call, {"status": "Accepted"})
        assert (await charger.boot())["status"] == "Accepted"
        await charger.status(1)
    await eventually(lambda: Station.objects.get().evses.count() == 1)
