"""What people type about prices and reports."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any, cast

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import ParseError

from accounts.api_defaults import strict_json
from accounts.models import Membership
from billing.models import ExactEncoder, Tariff, VatCategory
from billing.money import UnknownCurrency, digits
from billing.snapshot import Dimension, Restrictions, Tax
from billing.tariffs import snapshot_of
from sessions.words import plug_of
from stations.models import Connector, Site

_MOMENT = "%Y-%m-%dT%H:%M"


def _price(label: Any, help_text: Any = "") -> forms.DecimalField:
    return forms.DecimalField(
        label=label, help_text=help_text, required=False, min_value=Decimal(0), max_digits=12, decimal_places=6
    )


class TariffForm(forms.Form):
    """A price list of the usual shape: energy, time, a fee and idle time, without conditions."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    currency = forms.CharField(label=gettext_lazy("Currency"), max_length=3, min_length=3)
    gross = forms.BooleanField(
        label=gettext_lazy("Prices include VAT"),
        required=False,
        initial=True,
        help_text=gettext_lazy("Prices for consumers must."),
    )
    energy = _price(gettext_lazy("Energy, per kWh"))
    minute = _price(gettext_lazy("Charging time, per minute"))
    fee = _price(gettext_lazy("Fee, per session"))
    idle = _price(
        gettext_lazy("Idle time after charging, per minute"),
        gettext_lazy("While the car is full and still plugged in; never while the charger holds back."),
    )
    idle_grace = forms.IntegerField(
        label=gettext_lazy("Free minutes before idle time counts"), required=False, min_value=0, max_value=10_000
    )
    idle_cap = _price(gettext_lazy("Most that idle time costs, per session"))
    least = _price(gettext_lazy("Least that a session costs"))
    sites = forms.MultipleChoiceField(
        label=gettext_lazy("Only at these sites"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("Without a choice it holds everywhere. The most specific tariff that is valid wins."),
    )
    plugs = forms.MultipleChoiceField(
        label=gettext_lazy("Only for these connectors"), required=False, widget=forms.CheckboxSelectMultiple
    )
    group = forms.CharField(
        label=gettext_lazy("Only for this group of drivers or tokens"), required=False, max_length=60
    )
    valid_from = forms.DateTimeField(
        label=gettext_lazy("Valid from"),
        required=False,
        help_text=gettext_lazy("At once where empty. Sessions that run keep the price they began with."),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=_MOMENT),
        input_formats=[_MOMENT, "%Y-%m-%dT%H:%M:%S"],
    )

    def __init__(self, *args: Any, actor: Membership, code: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._operator, self._code = actor.operator, code
        self.fields["currency"].initial = actor.operator.currency
        sites = Site.objects.visible_to(actor).filter(retired_at=None)
        types = Connector.objects.visible_to(actor).exclude(type="").order_by("type")
        plugs = [Connector(type=kind) for kind in types.values_list("type", flat=True).distinct()]
        cast(forms.ChoiceField, self.fields["sites"]).choices = [(str(site.uuid), site.name) for site in sites]
        cast(forms.ChoiceField, self.fields["plugs"]).choices = [(plug.type, plug_of(plug)) for plug in plugs]

    def clean_currency(self) -> str:
        """Return the currency's code."""
        code = str(self.cleaned_data["currency"]).upper()
        try:
            digits(code)
        except UnknownCurrency:
            raise forms.ValidationError(_("Three letters, such as EUR.")) from None
        return code

    def clean(self) -> dict[str, Any]:
        """Ask for at least one price: a tariff without any would be free without anybody having said so."""
        values = super().clean() or self.cleaned_data
        if not self.errors and all(values.get(name) is None for name in ("energy", "minute", "fee", "idle")):
            raise forms.ValidationError(_("Enter at least one price; 0 makes charging free."))
        return values

    @property
    def body(self) -> dict[str, Any]:
        """The OCPI 2.3.0 Tariff object with our additions."""
        values = self.cleaned_data
        prices = (
            (Dimension.ENERGY, values["energy"], 1),
            (Dimension.TIME, values["minute"], 60),
            (Dimension.FLAT, values["fee"], 1),
            (Dimension.PARKING_TIME, values["idle"], 60),
        )
        components = [
            {"type": kind.value, "price": price * factor, "step_size": 1}
            for kind, price, factor in prices
            if price is not None
        ]
        own: dict[str, Any] = {"name": values["name"], "vat_category": VatCategory.STANDARD.value}
        applies = {"sites": values["sites"], "connector_types": values["plugs"]}
        applies["groups"] = [values["group"]] if values["group"] else []
        if any(applies.values()):
            own["applies_to"] = {name: chosen for name, chosen in applies.items() if chosen}
        if values["idle_grace"]:
            own["idle_grace_seconds"] = values["idle_grace"] * 60
        if values["idle_cap"] is not None:
            own["idle_cap"] = values["idle_cap"]
        if values["valid_from"] is not None:
            own["valid_from"] = values["valid_from"].astimezone(dt.UTC).isoformat()
        body: dict[str, Any] = {
            "country_code": self._operator.country,
            "party_id": "".join(c for c in self._operator.slug.upper() if c.isalnum())[:3].ljust(3, "X"),
            "currency": values["currency"],
            "tax_included": "YES" if values["gross"] else "NO",
            "tariff_alt_text": [{"language": "en", "text": values["name"]}],
            "elements": [{"price_components": components}],
            "last_updated": timezone.now().isoformat().replace("+00:00", "Z"),
            "voltyard": own,
        }
        if self._code:
            body["id"] = self._code
        if values["least"]:
            body["min_price"] = {"after_taxes" if values["gross"] else "before_taxes": values["least"]}
        return body

    @staticmethod
    def initial_of(tariff: Tariff) -> dict[str, Any] | None:
        """Return what the form shows of a tariff; None where the tariff says more than this form can."""
        snapshot = snapshot_of(tariff)
        rules, own = snapshot.rules, tariff.voltyard
        kinds = [component.type for element in snapshot.elements for component in element.components]
        simple = (
            len(set(kinds)) == len(kinds)
            and all(element.restrictions == Restrictions() for element in snapshot.elements)
            and all(component.vat is None for element in snapshot.elements for component in element.components)
            and not own.keys() - {"name", "vat_category", "applies_to", "idle_grace_seconds", "idle_cap", "valid_from"}
            and not (own.get("applies_to") or {}).keys() - {"sites", "connector_types", "groups"}
            and len((own.get("applies_to") or {}).get("groups", ())) < 2
            and snapshot.max_price is None
            and snapshot.tax is not Tax.NONE
            and rules.idle_grace_seconds % 60 == 0
        )
        if not simple:
            return None
        prices = {c.type: c.price for element in snapshot.elements for c in element.components}
        applies, low = own.get("applies_to") or {}, snapshot.min_price
        return {
            "name": tariff.name,
            "currency": tariff.currency,
            "gross": snapshot.tax is Tax.INCLUDED,
            "energy": prices.get(Dimension.ENERGY),
            "minute": _by_minute(prices.get(Dimension.TIME)),
            "fee": prices.get(Dimension.FLAT),
            "idle": _by_minute(prices.get(Dimension.PARKING_TIME)),
            "idle_grace": rules.idle_grace_seconds // 60 or None,
            "idle_cap": rules.idle_cap,
            "least": low and (low.incl_vat if low.incl_vat is not None else low.excl_vat),
            "sites": applies.get("sites", []),
            "plugs": applies.get("connector_types", []),
            "group": next(iter(applies.get("groups", ())), ""),
        }


def _by_minute(price: Decimal | None) -> Decimal | None:
    return None if price is None else (price / 60).quantize(Decimal("0.000001")).normalize()


class TariffObjectForm(forms.Form):
    """A tariff as the OCPI object itself."""

    ocpi = forms.CharField(
        label=gettext_lazy("OCPI Tariff object"),
        widget=forms.Textarea(attrs={"rows": 28, "class": "mono", "spellcheck": "false"}),
        help_text=gettext_lazy(
            "OCPI 2.2.1 or 2.3.0 as JSON. What OCPI cannot say stands in its member “voltyard”: applies_to, "
            "valid_from, valid_to, idle_grace_seconds, idle_cap, idle_quiet, free_start_seconds, held_is_free, "
            "vat_category."
        ),
    )

    def clean_ocpi(self) -> dict[str, Any]:
        """Return the object."""
        try:
            return strict_json(self.cleaned_data["ocpi"].encode())
        except ParseError as error:
            raise forms.ValidationError(str(error.detail)) from None

    @property
    def body(self) -> dict[str, Any]:
        """The object."""
        return cast("dict[str, Any]", self.cleaned_data["ocpi"])

    @staticmethod
    def initial_of(tariff: Tariff) -> dict[str, str]:
        """Return the object of a version, ready to become the next one."""
        own = {name: value for name, value in tariff.voltyard.items() if name not in ("valid_from", "valid_to")}
        whole = {**tariff.ocpi, "id": tariff.code, "voltyard": own}
        return {"ocpi": json.dumps(whole, cls=ExactEncoder, indent=2, ensure_ascii=False)}


class ReportForm(forms.Form):
    """Which month of which site."""

    site = forms.ChoiceField(label=gettext_lazy("Site"))
    period = forms.CharField(label=gettext_lazy("Month"), widget=forms.TextInput(attrs={"type": "month"}), max_length=7)

    def __init__(self, *args: Any, actor: Membership, today: dt.date, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._today = today
        self._sites = {str(site.uuid): site for site in Site.objects.visible_to(actor).select_related("operator")}
        cast(forms.ChoiceField, self.fields["site"]).choices = [(key, site.name) for key, site in self._sites.items()]
        self.fields["period"].initial = f"{today.replace(day=1) - dt.timedelta(days=1):%Y-%m}"

    def clean_period(self) -> dt.date:
        """Return the first day of a month that is over."""
        try:
            first = dt.date.fromisoformat(f"{self.cleaned_data['period']}-01")
        except ValueError:
            raise forms.ValidationError(_("A month, such as 2026-11.")) from None
        if first >= self._today.replace(day=1):
            raise forms.ValidationError(_("This month is not over yet."))
        return first

    @property
    def chosen(self) -> tuple[Site, dt.date]:
        """The site and the first day of the month."""
        return self._sites[self.cleaned_data["site"]], self.cleaned_data["period"]
