"""The demo site's URLs: none, since the demo is used from a terminal."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
