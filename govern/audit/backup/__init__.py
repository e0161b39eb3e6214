"""Backups: the whole of an installation's data in one file, and the way back from it."""

from govern.audit.backup.archive import Manifest
from govern.audit.backup.making import make
from govern.audit.backup.restoring import restore

__all__ = ["Manifest", "make", "restore"]
