"""The command line: words become one operation, its result becomes words; it never decides."""

from govern.cli import (
    access,
    data,
    demanding,
    ending,
    evidence,
    integrations,
    keys,
    lifting,
    people,
    providers,
    proving,
    releasing,
    roles,
    server,
    suspending,
    witnesses,
)
from govern.cli.frame import EXIT, govern, main

__all__ = [
    "EXIT",
    "access",
    "data",
    "demanding",
    "ending",
    "evidence",
    "govern",
    "integrations",
    "keys",
    "lifting",
    "main",
    "people",
    "providers",
    "proving",
    "releasing",
    "roles",
    "server",
    "suspending",
    "witnesses",
]
