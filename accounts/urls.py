"""Addresses of people and access, by portal; config/urls.py puts each list under its namespace."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from accounts import api_people, views_auth, views_console, views_driver, views_staff

auth_urls: list[URLPattern | URLResolver] = [
    path("", views_auth.home, name="home"),
    path("account/profile/", views_auth.profile, name="profile"),
    path("account/", include("allauth.urls")),
    path("invitation/<str:secret>/", views_auth.invitation, name="invitation"),
    path("operator/", views_auth.choose_operator, name="choose_operator"),
    path("language/", views_auth.set_language, name="set_language"),
    path("demo/log-in/<slug:who>", views_auth.demo_log_in, name="demo_log_in"),
]

console_urls = [
    path("members/", views_console.member_list, name="members"),
    path("members/invite/", views_console.member_invite, name="member_invite"),
    path("members/<uuid:id>/", views_console.member, name="member"),
    path("members/<uuid:id>/remove/", views_console.member_remove, name="member_remove"),
    path("invitations/<uuid:id>/withdraw/", views_console.invitation_withdraw, name="invitation_withdraw"),
    path("tokens/", views_console.token_list, name="tokens"),
    path("tokens/new/", views_console.token_new, name="token_new"),
    path("tokens/<uuid:id>/", views_console.token, name="token"),
    path("tokens/<uuid:id>/block/", views_console.token_block, name="token_block"),
    path("tokens/<uuid:id>/unblock/", views_console.token_unblock, name="token_unblock"),
    path("tokens/<uuid:id>/retire/", views_console.token_retire, name="token_retire"),
    path("drivers/", views_console.driver_list, name="drivers"),
    path("drivers/new/", views_console.driver_new, name="driver_new"),
    path("drivers/<uuid:id>/", views_console.driver, name="driver"),
    path("drivers/<uuid:id>/edit/", views_console.driver_edit, name="driver_edit"),
    path("drivers/<uuid:id>/invite/", views_console.driver_invite, name="driver_invite"),
    path("drivers/<uuid:id>/retire/", views_console.driver_retire, name="driver_retire"),
    path("api-keys/", views_console.api_key_list, name="api_keys"),
    path("api-keys/<uuid:id>/revoke/", views_console.api_key_revoke, name="api_key_revoke"),
    path("audit/", views_console.audit_trail, name="audit"),
]

driver_urls = [
    path("account/", views_driver.account, name="account"),
    path("account/tokens/<uuid:id>/block/", views_driver.token_block, name="token_block"),
]

staff_urls = [
    path("", views_staff.operator_list, name="operators"),
    path("operators/new/", views_staff.operator_new, name="operator_new"),
    path("operators/<uuid:id>/suspend/", views_staff.operator_suspend, name="operator_suspend"),
    path("operators/<uuid:id>/resume/", views_staff.operator_resume, name="operator_resume"),
]

api_urls = [
    path("operators/me/", api_people.Me.as_view(), name="me"),
    path("drivers/", api_people.Drivers.as_view(), name="drivers"),
    path("drivers/<uuid:id>/", api_people.OneDriver.as_view(), name="driver"),
    path("tokens/", api_people.Tokens.as_view(), name="tokens"),
    path("tokens/<uuid:id>/", api_people.OneToken.as_view(), name="token"),
    path("audit/", api_people.Audit.as_view(), name="audit"),
    path("audit/<uuid:id>/", api_people.OneAudit.as_view(), name="audit_entry"),
]
