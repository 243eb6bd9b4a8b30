"""Addresses of money, and of sessions where they show what they cost; config/urls.py puts each list in its place."""

from __future__ import annotations

from django.urls import path

from billing import api, views_console, views_driver, views_finance, views_tariffs

console_urls = [
    path("sessions/", views_console.session_list_page, name="sessions"),
    path("sessions/rows/", views_console.session_rows, name="session_rows"),
    path("sessions/totals/", views_console.session_totals, name="session_totals"),
    path("sessions/export/", views_console.sessions_export, name="sessions_export"),
    path("sessions/<uuid:id>/release/", views_console.session_release, name="session_release"),
    path("sessions/<uuid:id>/free/", views_console.session_free, name="session_free"),
    path("sessions/<uuid:id>/price/", views_console.session_price, name="session_price"),
    path("stations/<uuid:id>/newest-sessions/", views_console.station_sessions, name="station_sessions"),
    path("stations/<uuid:id>/sessions/", views_console.station_sessions_tab, name="station_sessions_tab"),
    path("tariffs/", views_tariffs.tariff_list, name="tariffs"),
    path("tariffs/new/", views_tariffs.tariff_new, name="tariff_new"),
    path("tariffs/<uuid:id>/", views_tariffs.tariff, name="tariff"),
    path("tariffs/<uuid:id>/retire/", views_tariffs.tariff_retire, name="tariff_retire"),
]

fragment_urls = [
    path("revenue-today/", views_console.revenue_today, name="revenue_today"),
    path("sessions/<uuid:id>/cost/", views_console.session_cost, name="session_cost"),
    path("sessions/<uuid:id>/total/", views_console.session_total, name="session_total"),
    path("sessions/<uuid:id>/lines/", views_console.session_lines, name="session_lines"),
    path("sessions/<uuid:id>/story/", views_console.session_story, name="session_story"),
    path("sessions/<uuid:id>/review/", views_console.session_review, name="review"),
]

finance_urls = [
    path("", views_finance.overview, name="overview"),
    path("revenue/", views_finance.revenue, name="revenue"),
    path("revenue/csv/", views_finance.revenue_csv, name="revenue_csv"),
    path("documents/", views_finance.document_list, name="documents"),
    path("documents/<uuid:id>/", views_finance.document, name="document"),
    path("documents/<uuid:id>/pdf/", views_finance.document_pdf, name="document_pdf"),
    path("reports/", views_finance.report_list, name="reports"),
    path("reports/<uuid:id>/", views_finance.report, name="report"),
    path("reports/<uuid:id>/csv/", views_finance.report_csv, name="report_csv"),
    path("reports/<uuid:id>/pdf/", views_finance.report_pdf, name="report_pdf"),
]

driver_urls = [
    path("", views_driver.my_session_page, name="session"),
    path("find/", views_driver.find, name="find"),
    path("sessions/<uuid:id>/", views_driver.one_session, name="finished"),
    path("sessions/<uuid:id>/cost/", views_driver.session_cost, name="session_cost"),
    path("history/", views_driver.history, name="history"),
    path("history/statement/", views_driver.statement, name="statement"),
    path("history/<uuid:id>/", views_driver.receipt, name="receipt"),
    path("papers/<uuid:id>/", views_driver.paper, name="paper"),
]

api_urls = [
    path("sessions/", api.Sessions.as_view(), name="sessions"),
    path("sessions/<uuid:id>/", api.OneSession.as_view(), name="session"),
    path("tariffs/", api.Tariffs.as_view(), name="tariffs"),
    path("tariffs/preview/", api.Preview.as_view(), name="tariff_preview"),
    path("tariffs/<uuid:id>/", api.OneTariff.as_view(), name="tariff"),
    path("invoices/", api.Invoices.as_view(), name="invoices"),
    path("invoices/<uuid:id>/", api.OneInvoice.as_view(), name="invoice"),
    path("invoices/<uuid:id>/pdf/", api.InvoicePdf.as_view(), name="invoice_pdf"),
    path("reports/", api.Reports.as_view(), name="reports"),
    path("reports/<uuid:id>/", api.OneReport.as_view(), name="report"),
    path("reports/<uuid:id>/csv/", api.ReportCsv.as_view(), name="report_csv"),
    path("reports/<uuid:id>/pdf/", api.ReportPdf.as_view(), name="report_pdf"),
]
