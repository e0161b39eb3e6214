"""What a pack says of itself in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from govern import clock

if TYPE_CHECKING:
    from datetime import datetime

    from govern.access.clients import Client

_README = """\
EVIDENCE: {name} ({code}), {begin} to {end}

1. Read report.html in any browser; it prints. Its numbers stand in report.json too.

2. Check the pack, without us and without a network (Python 3.9 or later, and the package
   "cryptography"):

       python3 verify.py THIS-PACK.zip --key KEY

   KEY is the log's verifier key. Take it from where you were given it before, never from this
   file: whoever could change the pack could change a key in it. To compare, the pack was signed
   with the key that is written

       {key}

   Should you not want to trust the verify.py of this pack, take that of another one, or read it.
   Add --checkpoint FILE for each checkpoint that you kept from earlier, and --witness KEY for each
   witness that you trust.

WHAT IS HERE

   log.jsonl            the client's log: every entry of the period, and the hashes of all others
   checkpoints.jsonl    every head of the log that was signed in the period, and the newest
   cosignatures.jsonl   what witnesses wrote under them
   who-at-begin.jsonl   whose grants let them read something of the client's at the beginning
   who-at-end.jsonl     the same at the end
   reach.jsonl          who could at any moment between, by which grant, and when
   suspensions.jsonl    each stop in the period, its time to effect, its reviews
   governing.jsonl      of the client's whole log: who was given a role and lost it, and what the
                        house did for every client, such as what entitlements permit
   roles.jsonl          who held a role over the client or over every one, and when
   entitlements.jsonl   what each entitlement that the client's grants name permitted, and when
   drills.jsonl         each stop that was rehearsed
   reads.jsonl          who read the client's records, took them away, or was refused
   permissions.json     which role may do what
   report.json/.html    the report
   manifest.json/.note  the SHA-256 of each file, and the signature over that

WHAT IS PROVEN, if verify.py says so

   - that every entry shown stands in the log as it was signed, in its place and without a gap;
   - that the signed heads agree with these entries, and, with a checkpoint that you kept, that
     nothing before it was changed or cut off since;
   - that the report's counts, instants and digests under "log" follow from these entries;
   - that roles.jsonl and entitlements.jsonl follow, but for names, from the entries of
     governing.jsonl (the log is told what the house does for every client within seconds), and
     that this has all of them that log.jsonl has;
   - that each file is the one that govern signed.

WHAT IS NOT PROVEN

   - that nothing happened after the newest head: keep it, and compare it with the next pack;
   - that what was recorded is true, or that everything that happened was recorded;
   - that the other answers (who-at-*, reach, suspensions, drills, reads) are complete. They are
     what govern answered, signed; the log shows the grants and stops that they rest on. The
     state at the beginning rests on entries before the period, which are here as hashes alone, but
     for those of governing.jsonl: that it leaves out none of them is signed, and not proved;
   - who holds the key.
"""


def readme(client: Client, begin: datetime, end: datetime, key: str) -> str:
    """README.txt."""
    return _README.format(
        name=client.name, code=client.code, begin=clock.text(begin), end=clock.text(end), key=key
    )
