"""Every address of the installation."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from accounts import urls as accounts
from billing import urls as billing
from sessions import urls as sessions
from stations import urls as stations
from stations.urls_alerts import api_alert_urls, console_alert_urls

console_urls: list[URLPattern | URLResolver] = [
    *accounts.console_urls,
    *stations.console_urls,
    *console_alert_urls,
    *billing.console_urls,
    *sessions.console_urls,
]
api_urls: list[URLPattern | URLResolver] = [
    *accounts.api_urls,
    *stations.api_urls,
    *api_alert_urls,
    *billing.api_urls,
    *sessions.api_urls,
]

driver_urls: list[URLPattern | URLResolver] = [*accounts.driver_urls, *billing.driver_urls, *sessions.driver_urls]

urlpatterns: list[URLPattern | URLResolver] = [
    *accounts.auth_urls,
    path("console/", include((console_urls, "console"))),
    path("driver/", include((driver_urls, "driver"))),
    path("finance/", include((billing.finance_urls, "finance"))),
    path("fragments/billing/", include((billing.fragment_urls, "billing_fragments"))),
    path("staff/", include((accounts.staff_urls, "staff"))),
    path("api/v1/", include((api_urls, "api"))),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("admin/", admin.site.urls),
    path("_kit/", include("config.views_kit")),
]
