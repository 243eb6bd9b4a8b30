from django.apps import AppConfig


class RootConfig(AppConfig):
    name = "config"
    label = "config"

    def ready(self) -> None:
        """Give the task queue its settings, whichever process this is."""
        from config.celery import configured

        configured().set_default()
