"""Signals: followers of the logs that tell the world what happened."""

from govern.signals import mail, witnesses

__all__ = ["mail", "witnesses"]
