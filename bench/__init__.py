"""Measurements beside the floors of the same run; `python3 dev.py bench [NAME] [--json]`."""
