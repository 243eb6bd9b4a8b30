"""Treatments of products, and what reaches the domain under them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from stations.messages import Beat, MeterRead, SessionEnded, SessionStarted, TokenPresented
from stations.ocpp import quirks
from stations.ocpp.quirks import PLAIN, RULES, Treatment, treatment
from stations.ocpp.versions import ADAPTERS, inbound
from tests.stations.ocpp.test_versions import call, event, start

KILO = Treatment(energy_factor=Decimal(1000))


def test_a_product_is_known_by_vendor_model_and_firmware() -> None:
    assert treatment("OpenEVSE", "Advanced Series", "4.2.2").energy_factor == 1000
    assert treatment("openevse", "", "v4.2.2").energy_factor == 1000
    assert treatment("OpenEVSE", "Advanced Series", "4.2.20") is PLAIN
    assert treatment("OpenEVSE", "Advanced Series", "5.0.0") is PLAIN
    assert treatment("Not OpenEVSE", "", "4.2.2") is PLAIN
    assert treatment("", "", "") is PLAIN


def test_every_rule_names_its_source_and_changes_something() -> None:
    for rule in RULES:
        assert "#" in rule.source
        assert rule.treatment != PLAIN
        assert rule.vendor


def test_energy_alone_is_multiplied() -> None:
    v16, v201 = ADAPTERS["ocpp1.6"], ADAPTERS["ocpp2.0.1"]
    started = inbound(v16, start(meterStart=361), KILO).message
    assert isinstance(started, SessionStarted)
    assert started.register_wh == 361_000

    values = [{"value": 361}, {"value": 9451, "measurand": "Power.Active.Import"}]
    meter_value = [{"timestamp": "2025-03-14T09:26:53Z", "sampledValue": values}]
    updated = inbound(v201, event(1, meterValue=meter_value), KILO).message
    assert isinstance(updated, MeterRead)
    assert (updated.readings[0].energy_wh, updated.readings[0].power_w) == (361_000, 9451)

    presented = inbound(
        v201, event(1, meterValue=meter_value, idToken={"idToken": "A", "type": "Central"}), KILO
    ).message
    assert isinstance(presented, TokenPresented)
    assert presented.read.readings[0].energy_wh == 361_000

    ended = inbound(v201, event(2, "Ended", meterValue=meter_value), KILO).message
    assert isinstance(ended, SessionEnded)
    assert (ended.register_wh, ended.readings[0].energy_wh) == (361_000, 361_000)

    bare = inbound(v201, event(2, "Ended"), KILO).message
    assert isinstance(bare, SessionEnded)
    assert bare.register_wh is None
    assert inbound(v16, call("Heartbeat", {}), KILO).message == Beat()


@pytest.mark.parametrize("text", ["null", "NULL", " none ", "n/a", "-"])
def test_nothing_to_say(text: str) -> None:
    assert quirks.said(text) == ""
    assert quirks.said("RCD tripped") == "RCD tripped"


@pytest.mark.parametrize("text", ["0x0000", "0", "NoError", "null"])
def test_no_error(text: str) -> None:
    assert quirks.vendor_error(text) == ""
    assert quirks.vendor_error("0x0010") == "0x0010"
