"""Fixtures for all tests of this room."""

from tests.searching import nowhere, zoo  # noqa: F401  pytest finds the fixtures by their names
