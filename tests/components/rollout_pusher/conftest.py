"""Small models for the tests here."""

from tests.serving.conftest import model_with

__all__ = ["model_with"]
