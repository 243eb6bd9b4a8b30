"""Every address of the installation."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from accounts import urls as accounts
from stations import urls as stations
from stations.urls_alerts import api_alert_urls, console_alert_urls

urlpatterns: list[URLPattern | URLResolver] = [
    *accounts.auth_urls,
    path("console/", include(([*accounts.console_urls, *stations.console_urls, *console_alert_urls], "console"))),
    path("driver/", include((accounts.driver_urls, "driver"))),
    path("staff/", include((accounts.staff_urls, "staff"))),
    path("api/v1/", include(([*accounts.api_urls, *stations.api_urls, *api_alert_urls], "api"))),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("admin/", admin.site.urls),
    path("_kit/", include("config.views_kit")),
]
