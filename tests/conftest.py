"""What every test may use."""

from tests.people import *  # noqa: F403
