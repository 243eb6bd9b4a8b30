"""Addresses of sites, stations, commands and messages; config/urls.py puts each list under its namespace.

An identity may hold slashes, which arrive decoded: so the longer addresses of the API come first.
"""

from __future__ import annotations

from django.urls import path

from stations import api, api_commands, views_commands, views_console, views_log, views_setup

console_urls = [
    path("", views_console.station_list, name="stations"),
    path("stations/rows/", views_console.stations_rows, name="stations_rows"),
    path("stations/kpis/", views_console.stations_kpis, name="stations_kpis"),
    path("stations/feed/", views_console.stations_feed, name="stations_feed"),
    path("stations/map/", views_console.stations_map, name="stations_map"),
    path("stations/export.csv", views_console.stations_export, name="stations_export"),
    path("stations/bulk/", views_commands.stations_bulk, name="stations_bulk"),
    path("stations/new/", views_setup.station_new, name="station_new"),
    path("stations/<uuid:id>/", views_console.station, name="station"),
    path("stations/<uuid:id>/panel/", views_console.station_panel, name="station_panel"),
    path("stations/<uuid:id>/tiles/", views_console.station_tiles, name="station_tiles"),
    path("stations/<uuid:id>/series.json", views_console.station_series, name="station_series"),
    path("stations/<uuid:id>/log/", views_log.station_log, name="station_log"),
    path("stations/<uuid:id>/log/rows/", views_log.station_log_rows, name="station_log_rows"),
    path("stations/<uuid:id>/commands/", views_commands.station_commands, name="station_commands"),
    path("stations/<uuid:id>/ask/", views_commands.command_new, name="command_new"),
    path("stations/<uuid:id>/configuration/", views_console.station_configuration, name="station_configuration"),
    path("stations/<uuid:id>/connection/", views_setup.station_connection, name="station_connection"),
    path("stations/<uuid:id>/waiting/", views_setup.station_waiting, name="station_waiting"),
    path("stations/<uuid:id>/edit/", views_setup.station_edit, name="station_edit"),
    path("stations/<uuid:id>/password/", views_setup.station_password, name="station_password"),
    path("stations/<uuid:id>/version/", views_setup.station_version, name="station_version"),
    path("stations/<uuid:id>/registration/", views_setup.station_registration, name="station_registration"),
    path("stations/<uuid:id>/retire/", views_setup.station_retire, name="station_retire"),
    path("commands/", views_commands.command_results, name="command_results"),
    path("commands/<uuid:id>/", views_commands.command, name="command"),
    path("commands/<uuid:id>/again/", views_commands.command_again, name="command_again"),
    path("sites/", views_setup.site_list, name="sites"),
    path("sites/new/", views_setup.site_new, name="site_new"),
    path("sites/<uuid:id>/", views_setup.site, name="site"),
    path("sites/<uuid:id>/edit/", views_setup.site_edit, name="site_edit"),
    path("sites/<uuid:id>/retire/", views_setup.site_retire, name="site_retire"),
    path("messages/", views_log.messages, name="messages"),
    path("messages/rows/", views_log.message_rows, name="message_rows"),
    path("messages/download.jsonl", views_log.messages_download, name="messages_download"),
    path("refused/", views_setup.refused, name="refused"),
    path("refused/adopt/", views_setup.refused_adopt, name="refused_adopt"),
]

api_urls = [
    path("sites/", api.Sites.as_view(), name="sites"),
    path("sites/<uuid:id>/", api.OneSite.as_view(), name="site"),
    path("stations/", api.Stations.as_view(), name="stations"),
    path("stations/<path:identity>/commands/", api_commands.StationCommands.as_view(), name="station_commands"),
    path("stations/<path:identity>/messages/", api_commands.StationMessages.as_view(), name="station_messages"),
    path("stations/<path:identity>/", api.OneStation.as_view(), name="station"),
    path("commands/", api_commands.Commands.as_view(), name="commands"),
    path("commands/<uuid:id>/", api_commands.OneCommand.as_view(), name="command"),
]
