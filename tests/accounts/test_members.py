"""Members and invitations: owners alone touch ownership, an operator keeps an owner, links work once."""

from __future__ import annotations

import datetime as dt
import re
import threading

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.db import connection

from accounts import members
from accounts.models import AuditEntry, Driver, Invitation, Membership, Operator, User
from accounts.roles import Role
from tests.factories import NOW, PASSWORD, make_driver, make_member, make_operator, make_person

pytestmark = pytest.mark.django_db


def secret_of(letter) -> str:
    found = re.search(r"/invitation/([\w-]+)/", letter.body)
    assert found
    return found[1]


@pytest.fixture
def invite(django_capture_on_commit_callbacks):
    """Invite somebody and return the secret of the link in the letter."""

    def send(by: Membership, email: str = "new@example.com", role: Role = Role.VIEWER, **options) -> str:
        with django_capture_on_commit_callbacks(execute=True):
            members.invite_member(by.operator, email=email, role=role, by=by, at=NOW, **options)
        return secret_of(mail.outbox[-1])

    return send


def test_an_invitation_becomes_a_member(owner: Membership, invite) -> None:
    secret = invite(owner, "New@Example.com", Role.TECHNICIAN, sites=[7, 3])
    letter = mail.outbox[0]
    assert letter.to == ["new@example.com"]
    assert letter.alternatives[0].mimetype == "text/html"
    found = members.find_invitation(secret, at=NOW)
    assert found is not None
    user = members.accept_as_new(found, name="Nora", password=PASSWORD, language="nl", at=NOW)
    member = Membership.objects.get(user=user)
    assert (member.role, member.site_scope, member.operator) == (Role.TECHNICIAN, frozenset({3, 7}), owner.operator)
    assert (user.email, user.name, user.language) == ("new@example.com", "Nora", "nl")
    assert user.check_password(PASSWORD)
    assert EmailAddress.objects.get(user=user).verified
    assert [e.action for e in AuditEntry.objects.all()] == ["member.joined", "member.invited"]


def test_the_link_is_stored_as_a_digest_and_works_once(owner: Membership, invite) -> None:
    secret = invite(owner)
    invitation = Invitation.objects.get()
    assert secret not in invitation.digest
    members.accept_as_new(invitation, name="N", password=PASSWORD, language="en", at=NOW)
    assert members.find_invitation(secret, at=NOW) is None
    with pytest.raises(members.InvitationUnusable):
        members.accept_as_new(invitation, name="N", password=PASSWORD, language="en", at=NOW)
    assert User.objects.filter(email="new@example.com").count() == 1


def test_the_link_ends_after_seven_days_when_withdrawn_repeated_or_suspended(owner: Membership, invite) -> None:
    first = invite(owner)
    assert members.find_invitation(first, at=NOW + dt.timedelta(days=7, seconds=-1))
    assert members.find_invitation(first, at=NOW + dt.timedelta(days=7)) is None
    second = invite(owner)
    assert members.find_invitation(first, at=NOW) is None
    owner.operator.suspended_at = NOW
    owner.operator.save()
    assert members.find_invitation(second, at=NOW) is None
    owner.operator.suspended_at = None
    owner.operator.save()
    members.withdraw(members.find_invitation(second, at=NOW), by=owner)
    assert members.find_invitation(second, at=NOW) is None


def test_somebody_known_joins_with_their_own_log_in_only(owner: Membership, stranger: Membership, invite) -> None:
    invitation = members.find_invitation(invite(owner, "stranger@example.com"), at=NOW)
    with pytest.raises(members.InvitationUnusable):
        members.accept_as_new(invitation, name="Thief", password=PASSWORD, language="en", at=NOW)
    with pytest.raises(members.InvitationUnusable):
        members.accept_as(invitation, user=make_person(), at=NOW)
    members.accept_as(invitation, user=stranger.user, at=NOW)
    assert set(stranger.user.memberships.values_list("operator__slug", "role")) == {
        ("rival", "owner"),
        ("lighthouse", "viewer"),
    }


def test_an_unproven_address_lets_nobody_in(owner: Membership, invite) -> None:
    thief = make_person("thief@example.com")
    EmailAddress.objects.create(user=thief, email="victim@example.com", verified=False, primary=False)
    invitation = members.find_invitation(invite(owner, "victim@example.com", Role.ADMIN), at=NOW)
    with pytest.raises(members.InvitationUnusable):
        members.accept_as(invitation, user=thief, at=NOW)
    assert not thief.memberships.exists()


def test_a_member_is_not_invited_again(owner: Membership, viewer: Membership) -> None:
    with pytest.raises(members.AlreadyMember):
        members.invite_member(owner.operator, email="Viewer@example.com", role=Role.ADMIN, by=owner, at=NOW)
    assert not Invitation.objects.exists()


@pytest.mark.parametrize("who", ["operator", "technician", "accountant", "viewer"])
def test_only_owners_and_administrators_manage_members(who: str, owner: Membership, request) -> None:
    person = request.getfixturevalue(who)
    attempts = (
        lambda: members.invite_member(person.operator, email="x@example.com", role=Role.VIEWER, by=person, at=NOW),
        lambda: members.change_member(person, role=Role.ADMIN, sites=None, by=person),
        lambda: members.remove_member(owner, by=person),
    )
    for attempt in attempts:
        with pytest.raises(PermissionDenied):
            attempt()
    person.refresh_from_db()
    assert person.role != Role.ADMIN
    assert not Invitation.objects.exists()


def test_an_administrator_cannot_touch_ownership(
    owner: Membership, admin: Membership, viewer: Membership, invite
) -> None:
    invite(owner, "second@example.com", Role.OWNER)
    attempts = (
        lambda: members.invite_member(admin.operator, email="x@example.com", role=Role.OWNER, by=admin, at=NOW),
        lambda: members.change_member(admin, role=Role.OWNER, sites=None, by=admin),
        lambda: members.change_member(viewer, role=Role.OWNER, sites=None, by=admin),
        lambda: members.change_member(owner, role=Role.VIEWER, sites=None, by=admin),
        lambda: members.remove_member(owner, by=admin),
        lambda: members.withdraw(Invitation.objects.get(), by=admin),
    )
    for attempt in attempts:
        with pytest.raises(members.OnlyOwners):
            attempt()
    roles = set(Membership.objects.values_list("user__email", "role"))
    assert roles == {("owner@example.com", "owner"), ("admin@example.com", "admin"), ("viewer@example.com", "viewer")}


def test_the_last_owner_stays(owner: Membership, admin: Membership) -> None:
    for attempt in (
        lambda: members.remove_member(owner, by=owner),
        lambda: members.change_member(owner, role=Role.ADMIN, sites=None, by=owner),
    ):
        with pytest.raises(members.LastOwner):
            attempt()
    second = make_member(owner.operator, Role.OWNER)
    second.user.is_active = False
    second.user.save()
    with pytest.raises(members.LastOwner):
        members.remove_member(owner, by=owner)
    members.change_member(admin, role=Role.OWNER, sites=None, by=owner)
    members.remove_member(owner, by=owner)
    assert not Membership.objects.filter(pk=owner.pk).exists()
    assert User.objects.filter(email="owner@example.com").exists()


def test_anybody_may_leave(owner: Membership, viewer: Membership) -> None:
    members.remove_member(viewer, by=viewer)
    entry = AuditEntry.objects.get(action="member.removed")
    assert (entry.user, entry.operator) == (viewer.user, owner.operator)


def test_a_change_of_role_is_told(owner: Membership, viewer: Membership) -> None:
    members.change_member(viewer, role=Role.TECHNICIAN, sites=[5], by=owner)
    viewer.refresh_from_db()
    assert (viewer.role, viewer.site_scope) == (Role.TECHNICIAN, frozenset({5}))
    facts = AuditEntry.objects.get(action="member.changed").facts
    assert (facts["before"]["role"], facts["after"]["role"]) == ("viewer", "technician")


def test_a_driver_comes_to_their_portal(operator: Membership, django_capture_on_commit_callbacks) -> None:
    row = make_driver(operator.operator, email="d@example.com")
    with django_capture_on_commit_callbacks(execute=True):
        members.invite_driver(row, by=operator, at=NOW)
    invitation = members.find_invitation(secret_of(mail.outbox[0]), at=NOW)
    user = members.accept_as_new(invitation, name="Di", password=PASSWORD, language="en", at=NOW)
    row.refresh_from_db()
    assert row.user == user
    assert not user.memberships.exists()
    with pytest.raises(members.AlreadyMember):
        members.invite_driver(row, by=operator, at=NOW)


def test_one_log_in_is_one_driver_per_operator(operator: Membership, driver: Driver) -> None:
    second = make_driver(operator.operator, email="driver@example.com")
    invitation = members.invite_driver(second, by=operator, at=NOW)
    with pytest.raises(members.InvitationUnusable):
        members.accept_as(invitation, user=driver.user, at=NOW)
    elsewhere = make_driver(make_operator(), email="driver@example.com")
    member_there = make_member(elsewhere.operator)
    members.accept_as(members.invite_driver(elsewhere, by=member_there, at=NOW), user=driver.user, at=NOW)
    assert driver.user.drivers.count() == 2


def test_a_letter_that_cannot_be_sent_leaves_the_invitation(
    owner: Membership, settings, django_capture_on_commit_callbacks
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    with django_capture_on_commit_callbacks(execute=True):
        members.invite_member(owner.operator, email="new@example.com", role=Role.VIEWER, by=owner, at=NOW)
    assert Invitation.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_owners_cannot_remove_each_other() -> None:
    tenant: Operator = make_operator()
    first, second = make_member(tenant), make_member(tenant)
    outcomes: list[str] = []
    start = threading.Barrier(2)

    def remove(victim: Membership, by: Membership) -> None:
        start.wait()
        try:
            members.remove_member(victim, by=by)
            outcomes.append("removed")
        except members.LastOwner:
            outcomes.append("kept")
        finally:
            connection.close()

    threads = [threading.Thread(target=remove, args=pair) for pair in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["kept", "removed"]
    assert Membership.objects.filter(operator=tenant).count() == 1
