"""The command line: words become one operation, its result becomes words; it never decides."""

import gc

# What is imported stays to the end: to look for lost cycles among it, meanwhile and once more when
# Python ends, takes a quarter of a short command.
gc.disable()

from govern.cli import (  # noqa: E402 - see above
    access,
    asking,
    bulk,
    data,
    demanding,
    ending,
    erasing,
    evidence,
    exporting,
    histories,
    holding,
    integrations,
    keys,
    lifting,
    people,
    providers,
    proving,
    releasing,
    retaining,
    roles,
    server,
    streaming,
    suspending,
    uses,
    witnesses,
)
from govern.cli.frame import EXIT, govern, main  # noqa: E402 - see above

gc.freeze()
gc.enable()

__all__ = [
    "EXIT",
    "access",
    "asking",
    "bulk",
    "data",
    "demanding",
    "ending",
    "erasing",
    "evidence",
    "exporting",
    "govern",
    "histories",
    "holding",
    "integrations",
    "keys",
    "lifting",
    "main",
    "people",
    "providers",
    "proving",
    "releasing",
    "retaining",
    "roles",
    "server",
    "streaming",
    "suspending",
    "uses",
    "witnesses",
]
