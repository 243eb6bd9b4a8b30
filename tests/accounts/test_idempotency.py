"""One effect per Idempotency-Key, however often and however parallel the call comes."""

from __future__ import annotations

import json
import threading

import pytest
from django.db import connection
from rest_framework.test import APIClient

from accounts.models import AuditEntry, Driver, IdempotentCall, IdToken, Operator
from accounts.roles import Role
from tests.factories import make_api_key, make_operator

pytestmark = pytest.mark.django_db
URL = "/api/v1/tokens/"
CARD = {"value": "04A2B3C4", "type": "rfid"}


def test_the_first_answer_comes_again(program) -> None:
    client = program()
    first = client.post(URL, CARD, headers={"Idempotency-Key": "a"})
    again = client.post(URL, CARD, headers={"Idempotency-Key": "a"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert "Idempotent-Replayed" not in first.headers
    assert again["Idempotent-Replayed"] == "true"
    assert again["Content-Type"] == "application/json"
    assert IdToken.objects.count() == 1
    assert AuditEntry.objects.filter(action="token.created").count() == 1


def test_it_comes_again_after_the_row_has_changed(program) -> None:
    client = program()
    first = client.post(URL, CARD, headers={"Idempotency-Key": "a"})
    url = f"{URL}{first.json()['id']}/"
    client.patch(url, {"status": "blocked"}, headers={"Idempotency-Key": "b"})
    client.patch(url, {"status": "active"}, headers={"Idempotency-Key": "c"})
    again = client.patch(url, {"status": "blocked"}, headers={"Idempotency-Key": "b"})
    assert again.json()["status"] == "blocked"
    assert IdToken.objects.get().status == "active"


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [("post", URL, CARD | {"group": "x"}), ("post", "/api/v1/drivers/", CARD), ("post", URL, {})],
    ids=["other body", "other address", "empty body"],
)
def test_the_key_of_another_request_is_a_mismatch(program, method: str, url: str, body: dict[str, str]) -> None:
    client = program()
    client.post(URL, CARD, headers={"Idempotency-Key": "a"})
    answer = getattr(client, method)(url, body, headers={"Idempotency-Key": "a"})
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "idempotency_mismatch"
    assert IdToken.objects.count() == 1


def test_each_api_key_has_its_own_keys(program) -> None:
    assert program().post(URL, CARD, headers={"Idempotency-Key": "a"}).status_code == 201
    other = program().post(URL, {"value": "04FFFF", "type": "rfid"}, headers={"Idempotency-Key": "a"})
    assert other.status_code == 201
    assert IdToken.objects.count() == 2


def test_an_error_has_no_effect_and_is_not_remembered(program) -> None:
    client = program()
    wrong = client.post(URL, {"value": "", "type": "rfid"}, headers={"Idempotency-Key": "a"})
    assert wrong.status_code == 400
    assert not IdempotentCall.objects.exists()
    assert client.post(URL, CARD, headers={"Idempotency-Key": "a"}).status_code == 201
    assert client.post(URL, CARD, headers={"Idempotency-Key": "b"}).status_code == 409
    assert IdempotentCall.objects.count() == 1


def test_without_a_key_every_call_counts(program) -> None:
    client = program()
    assert [client.post("/api/v1/drivers/", {"name": "Dan"}).status_code for _ in range(2)] == [201, 201]
    assert Driver.objects.count() == 2


@pytest.mark.parametrize("key", ["", "a" * 65, "ä", "a\tb"])
def test_a_key_that_is_none_is_told(program, key: str) -> None:
    answer = program().post(URL, CARD, headers={"Idempotency-Key": key})
    assert answer.status_code == 400
    assert list(answer.json()["error"]["fields"]) == ["Idempotency-Key"]
    assert not IdToken.objects.exists()


def test_sixty_four_characters_are_enough(program) -> None:
    assert program().post(URL, CARD, headers={"Idempotency-Key": "a" * 64}).status_code == 201


def test_a_pin_in_a_remembered_answer_is_sealed(program) -> None:
    client = program()
    body = {"type": "pin", "value": "80018001"}
    first = client.post(URL, body, headers={"Idempotency-Key": "a"})
    assert first.json()["value"] == "80018001"
    stored = str(IdempotentCall.objects.values().get())
    assert "80018001" not in stored
    assert client.post(URL, body, headers={"Idempotency-Key": "a"}).json()["value"] == "80018001"


def test_deleting_again_answers_again(program) -> None:
    client = program()
    url = f"{URL}{client.post(URL, CARD).json()['id']}/"
    answers = [client.delete(url, headers={"Idempotency-Key": "x"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 204]
    assert AuditEntry.objects.filter(action="token.retired").count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("keys", [["same"] * 8, [f"key{n}" for n in range(8)]], ids=["one key", "eight keys"])
def test_parallel_calls_have_one_effect(keys: list[str]) -> None:
    tenant: Operator = make_operator()
    _key, secret = make_api_key(tenant, Role.OWNER)
    answers: list[tuple[int, bytes]] = []
    start = threading.Barrier(len(keys))

    def call(key: str) -> None:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        start.wait()
        try:
            answer = client.post(URL, CARD, headers={"Idempotency-Key": key})
            answers.append((answer.status_code, answer.content))
        finally:
            connection.close()

    threads = [threading.Thread(target=call, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert IdToken.objects.count() == 1
    assert AuditEntry.objects.filter(action="token.created").count() == 1
    if len(set(keys)) == 1:
        assert set(answers) == {(201, answers[0][1])}
        assert len(answers) == 8
    else:
        assert sorted(status for status, _content in answers) == [201] + [409] * 7
        refused = [json.loads(content)["error"]["code"] for status, content in answers if status == 409]
        assert set(refused) == {"token_taken"}
