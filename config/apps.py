from django.apps import AppConfig


class RootConfig(AppConfig):
    name = "config"
    label = "config"

    def ready(self) -> None:
        """Give the task queue its settings, whichever process this is, and let the deployment checks be known."""
        from config import checks  # noqa: F401
        from config.celery import app, configured

        configured(app).set_default()
