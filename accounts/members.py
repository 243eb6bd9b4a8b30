"""Who belongs to an operator: inviting, accepting, changing roles, leaving.

Only owners make or unmake owners, nobody gives a role above their own, and an operator keeps an owner.
An invitation's link proves the address it was sent to: it makes a new log-in, or joins the log-in that
already has this address, never another one.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterable

from allauth.account.models import EmailAddress
from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import override

from accounts import audit, mail
from accounts.errors import Refused
from accounts.keys import digest, digests
from accounts.models import Driver, Invitation, Membership, Operator, User
from accounts.roles import Ability, Role, require

INVITATION_DAYS = 7
_PURPOSE = "invitation"


class LastOwner(Refused):
    """The operator would be left without an owner."""

    code = "last_owner"


class OnlyOwners(Refused):
    """Somebody who is no owner touches ownership."""

    code = "only_owners"


class AlreadyMember(Refused):
    """The address belongs to a member already."""

    code = "already_member"


class InvitationUnusable(Refused):
    """The invitation was accepted before, has expired, or is not meant for this person."""

    code = "invitation_unusable"


def invite_member(
    operator: Operator,
    *,
    email: str,
    role: str,
    sites: Iterable[int] | None = None,
    by: Membership | User,
    at: dt.datetime,
) -> Invitation:
    """Send an invitation to become a member; an earlier open one for the address ends.

    ``sites`` are keys of the only sites the person will see, None for all. ``by`` is a member with the right
    to it, or the installation's staff. Raises OnlyOwners, AlreadyMember, PermissionDenied.
    """
    if isinstance(by, Membership):
        require(by, Ability.MANAGE_MEMBERS)
        _check_ownership(by, role)
    if Membership.objects.filter(operator=operator, user=person_at(email)).exists():
        raise AlreadyMember(_("This person is a member already."), field="email")
    with transaction.atomic():
        Invitation.objects.filter(operator=operator, email=email.lower(), driver=None, accepted_at=None).delete()
        return _invite(operator, email, by=by, at=at, role=Role(role), sites=sites)


def invite_driver(driver: Driver, *, by: Membership, at: dt.datetime) -> Invitation:
    """Send a driver the way to their portal; an earlier open one ends. Raises Refused without an address."""
    require(by, Ability.EDIT_TOKENS)
    if driver.user_id is not None:
        raise AlreadyMember(_("This driver has a log-in already."))
    if not driver.email:
        raise Refused(_("This driver has no e-mail address."), code="no_email")
    with transaction.atomic():
        Invitation.objects.filter(driver=driver, accepted_at=None).delete()
        return _invite(driver.operator, driver.email, by=by, at=at, driver=driver)


def find_invitation(secret: str, *, at: dt.datetime) -> Invitation | None:
    """Return the open invitation behind a link; None where it is unknown, used or too old."""
    rows = Invitation.objects.select_related("operator", "driver")
    found: Invitation | None = rows.filter(
        digest__in=digests(secret.encode("utf-8", "surrogatepass"), purpose=_PURPOSE)
    ).first()
    return found if found is not None and found.is_open(at) and not found.operator.is_suspended else None


def accept_as_new(invitation: Invitation, *, name: str, password: str, language: str, at: dt.datetime) -> User:
    """Return the new person this invitation makes. Raises InvitationUnusable where the address has a log-in."""
    with transaction.atomic():
        row = _locked(invitation, at)
        if person_at(row.email) is not None:
            raise InvitationUnusable(_("This address has a log-in already. Log in to accept."))
        user = User.objects.create_user(row.email, password, name=name, language=language)
        _join(row, user, at)
    return user


def accept_as(invitation: Invitation, *, user: User, at: dt.datetime) -> None:
    """Let the person behind the invited address join. Raises InvitationUnusable for anybody else."""
    with transaction.atomic():
        row = _locked(invitation, at)
        if person_at(row.email) != user:
            raise InvitationUnusable(_("This invitation was sent to somebody else."))
        _join(row, user, at)


def withdraw(invitation: Invitation, *, by: Membership) -> None:
    """End an open invitation. Raises PermissionDenied, OnlyOwners."""
    require(by, Ability.EDIT_TOKENS if invitation.driver_id else Ability.MANAGE_MEMBERS)
    _check_ownership(by, invitation.role)
    with transaction.atomic():
        audit.record(by, "invitation.withdrawn", invitation)
        invitation.delete()


def change_member(membership: Membership, *, role: str, sites: Iterable[int] | None, by: Membership) -> Membership:
    """Give a member another role or other sites (None for all).

    Raises OnlyOwners, LastOwner, PermissionDenied.
    """
    require(by, Ability.MANAGE_MEMBERS)
    _check_ownership(by, role, membership.role)
    with transaction.atomic():
        row = _locked_member(membership)
        if row.role == Role.OWNER and role != Role.OWNER:
            _keep_an_owner(row)
        before = _told(row)
        row.role, row.all_sites, row.site_ids = Role(role), sites is None, sorted(sites or ())
        row.save(update_fields=["role", "all_sites", "site_ids"])
        audit.record(by, "member.changed", row, before=before, after=_told(row))
    return row


def remove_member(membership: Membership, *, by: Membership) -> None:
    """End a membership; the person's log-in stays. Anybody may leave.

    Raises OnlyOwners, LastOwner, PermissionDenied.
    """
    if membership.pk != by.pk:
        require(by, Ability.MANAGE_MEMBERS)
        _check_ownership(by, membership.role)
    with transaction.atomic():
        row = _locked_member(membership)
        if row.role == Role.OWNER:
            _keep_an_owner(row)
        audit.record(by, "member.removed", row, before=_told(row))
        row.delete()


def person_at(email: str) -> User | None:
    """Return the person who has proven to read this address."""
    address = EmailAddress.objects.filter(email=email.lower(), verified=True).select_related("user").first()
    if address is not None:
        return address.user  # type: ignore[no-any-return]
    return User.objects.filter(email=email.lower()).first()


def _check_ownership(by: Membership, *roles: str) -> None:
    if Role.OWNER in roles and by.role != Role.OWNER:
        raise OnlyOwners(_("Only an owner can do this with owners."), field="role")


def _keep_an_owner(leaving: Membership) -> None:
    owners = Membership.objects.filter(operator_id=leaving.operator_id, role=Role.OWNER, user__is_active=True)
    if not owners.exclude(pk=leaving.pk).exists():
        raise LastOwner(_("An operator needs an owner. Make somebody else owner first."))


def _locked_member(membership: Membership) -> Membership:
    # Two owners who remove each other at once must not both succeed: one at a time per operator.
    Operator.objects.select_for_update(no_key=True).get(pk=membership.operator_id)
    row: Membership = Membership.objects.select_related("user", "operator").get(pk=membership.pk)
    return row


def _locked(invitation: Invitation, at: dt.datetime) -> Invitation:
    row = Invitation.objects.select_for_update().filter(pk=invitation.pk).first()
    if row is None or not row.is_open(at):
        raise InvitationUnusable(_("This invitation was used already or has expired."))
    return row


def _invite(
    operator: Operator,
    email: str,
    *,
    by: Membership | User,
    at: dt.datetime,
    role: str = "",
    driver: Driver | None = None,
    sites: Iterable[int] | None = None,
) -> Invitation:
    secret = secrets.token_urlsafe(32)
    person = by.user if isinstance(by, Membership) else by
    invitation = Invitation.objects.create(
        operator=operator,
        email=email.lower(),
        role=role,
        driver=driver,
        all_sites=sites is None,
        site_ids=sorted(sites or ()),
        digest=digest(secret.encode(), purpose=_PURPOSE),
        invited_by=person,
        expires_at=at + dt.timedelta(days=INVITATION_DAYS),
    )
    audit.record(by, "driver.invited" if driver else "member.invited", driver or invitation, role=role)
    guest = person_at(email)
    with override(guest.language if guest else person.language):
        letter = mail.write(
            "invitation",
            invitation.email,
            subject=_("Your invitation to %(operator)s") % {"operator": operator.name},
            operator=operator,
            inviter=person,
            role=invitation.get_role_display(),
            days=INVITATION_DAYS,
            url=mail.address(reverse("invitation", args=[secret])),
        )
    transaction.on_commit(lambda: mail.post(letter))
    return invitation


def _join(invitation: Invitation, user: User, at: dt.datetime) -> None:
    operator = invitation.operator
    if invitation.driver is not None:
        if Driver.objects.filter(operator=operator, user=user).exists():
            raise InvitationUnusable(_("You are a driver of this operator already."))
        unclaimed = Driver.objects.filter(pk=invitation.driver.pk, user=None, retired_at=None)
        if not unclaimed.update(user=user):
            raise InvitationUnusable(_("This invitation was used already or has expired."))
        audit.record(user, "driver.joined", invitation.driver)
    else:
        if Membership.objects.filter(operator=operator, user=user).exists():
            raise InvitationUnusable(_("You are a member of this operator already."))
        member = Membership.objects.create(
            operator=operator,
            user=user,
            role=invitation.role,
            all_sites=invitation.all_sites,
            site_ids=invitation.site_ids,
        )
        audit.record(user, "member.joined", member, role=member.role)
    Invitation.objects.filter(pk=invitation.pk).update(accepted_at=at)


def _told(membership: Membership) -> dict[str, object]:
    return {"role": membership.role, "all_sites": membership.all_sites, "site_ids": membership.site_ids}
