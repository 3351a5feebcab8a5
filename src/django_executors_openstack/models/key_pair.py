"""Who may log in to a new server."""

from __future__ import annotations

from django.db import models

from .tenant import CatalogEntry

__all__ = ["KeyPair"]


class KeyPair(CatalogEntry):
    """A public SSH key. ``backend_id`` is its name in Nova, where key pairs have no other id and belong to a user."""

    fingerprint = models.CharField(max_length=100, blank=True, default="")
    public_key = models.TextField()

    class Meta:
        default_related_name = "key_pairs"
        ordering = ["name"]
