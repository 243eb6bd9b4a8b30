from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class BillingConfig(AppConfig):
    name = "billing"
    verbose_name = _("Billing")

    def ready(self) -> None:
        """Reference data comes with the tables, also after a flush."""
        from billing.taxes import seed_vat_rates

        post_migrate.connect(seed_vat_rates, sender=self)
