"""People with names. Members act in the tenant; the stranger owns another one; staff run the installation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import Driver, Membership, Operator, User
from accounts.roles import Role
from tests.factories import make_api_key, make_driver, make_member, make_operator, make_person

Browser = Callable[[User | Membership | Driver], Client]
Program = Callable[..., APIClient]


@pytest.fixture
def tenant(db: None) -> Operator:
    return make_operator("lighthouse", name="Lighthouse Charging")


@pytest.fixture
def other_tenant(db: None) -> Operator:
    return make_operator("rival", name="Rival Energy")


@pytest.fixture
def owner(tenant: Operator) -> Membership:
    return make_member(tenant, Role.OWNER, make_person("owner@example.com"))


@pytest.fixture
def admin(tenant: Operator) -> Membership:
    return make_member(tenant, Role.ADMIN, make_person("admin@example.com"))


@pytest.fixture
def operator(tenant: Operator) -> Membership:
    return make_member(tenant, Role.OPERATOR, make_person("operator@example.com"))


@pytest.fixture
def technician(tenant: Operator) -> Membership:
    return make_member(tenant, Role.TECHNICIAN, make_person("technician@example.com"))


@pytest.fixture
def accountant(tenant: Operator) -> Membership:
    return make_member(tenant, Role.FINANCE, make_person("accountant@example.com"))


@pytest.fixture
def viewer(tenant: Operator) -> Membership:
    return make_member(tenant, Role.VIEWER, make_person("viewer@example.com"))


@pytest.fixture
def driver(tenant: Operator) -> Driver:
    return make_driver(tenant, user=make_person("driver@example.com"), name="Dana Driver", email="driver@example.com")


@pytest.fixture
def stranger(other_tenant: Operator) -> Membership:
    return make_member(other_tenant, Role.OWNER, make_person("stranger@example.com"))


@pytest.fixture
def staff(db: None) -> User:
    return make_person("staff@example.com", is_staff=True, is_superuser=True)


@pytest.fixture
def browser() -> Browser:
    """Return a browser in which a person is logged in."""

    def open_browser(person: User | Membership | Driver) -> Client:
        user = person if isinstance(person, User) else person.user
        assert user is not None
        client = Client()
        client.force_login(user)
        return client

    return open_browser


@pytest.fixture
def program(tenant: Operator) -> Program:
    """Return an API client whose key has a role at the tenant, or at another operator."""

    def connect(role: Role = Role.OWNER, operator: Operator | None = None) -> APIClient:
        _key, secret = make_api_key(operator or tenant, role)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return client

    return connect
