"""The commands that make an operator and an API key, as scripts rely on them."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command

from accounts.models import ApiKey, Membership, Operator
from billing.models import LegalEntity

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def create(**changes: str) -> str:
    options = {"name": "Pier Power", "slug": "pier", "email": "boss@example.com", "password": "pw"} | changes
    return run("create_operator", *[f"--{name.replace('_', '-')}={value}" for name, value in options.items()])


def test_an_operator_with_owner_and_seller(client) -> None:
    told = json.loads(create(currency="NOK", time_zone="Europe/Oslo", country="NO"))
    operator = Operator.objects.get()
    assert told == {
        "created": True,
        "id": str(operator.uuid),
        "name": "Pier Power",
        "slug": "pier",
        "currency": "NOK",
        "time_zone": "Europe/Oslo",
        "country": "NO",
    }
    assert Membership.objects.get().role == "owner"
    assert LegalEntity.objects.get().country == "NO"
    client.post("/account/login/", {"login": "boss@example.com", "password": "pw"})
    assert client.get("/")["Location"] == "/console/"


def test_a_second_call_changes_nothing() -> None:
    first = json.loads(create())
    second = json.loads(create(name="Other", email="other@example.com", currency="USD"))
    assert second == first | {"created": False}
    assert Membership.objects.get().user.email == "boss@example.com"


@pytest.mark.parametrize("wrong", [{"time_zone": "Mars/Base"}, {"currency": "kr"}, {"slug": "a b"}])
def test_wrong_values_are_told_and_make_nothing(wrong: dict[str, str]) -> None:
    with pytest.raises(CommandError):
        create(**wrong)
    assert not Operator.objects.exists()


@pytest.mark.parametrize("role", ["owner", "admin", "operator", "technician", "finance", "viewer"])
def test_a_key_is_printed_alone_and_works(client, role: str) -> None:
    create()
    secret = run("create_api_key", "--operator", "pier", "--role", role)
    assert secret.count("\n") == 1
    answer = client.get("/api/v1/operators/me/", headers={"Authorization": f"Bearer {secret.strip()}"})
    assert answer.json()["role"] == role
    assert ApiKey.objects.count() == 1


def test_a_key_needs_an_operator_and_a_role() -> None:
    create()
    for arguments in (("--operator", "nobody", "--role", "owner"), ("--operator", "pier", "--role", "king")):
        with pytest.raises(CommandError):
            run("create_api_key", *arguments)
    assert not ApiKey.objects.exists()
