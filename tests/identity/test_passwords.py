"""What a stolen table of passwords costs whoever guesses at them."""

from __future__ import annotations

import subprocess
import sys

import argon2

SHIPPED = """
from govern.identity import passwords
print(passwords.hashed("correct horse battery"))
print(passwords.hash_random("0123456789abcdef"))
"""


def test_hashes_are_argon2id_at_the_cost_that_the_field_asks() -> None:
    """OWASP's password storage page: 19 MiB with two passes, or 46 MiB with one."""
    # A process of its own, since the tests' own hashes are made cheap.
    told = subprocess.run(
        [sys.executable, "-c", SHIPPED], check=True, capture_output=True, text=True
    )
    password, random = map(argon2.extract_parameters, told.stdout.split())
    assert password.type is random.type is argon2.Type.ID
    assert password.memory_cost >= 46 * 1024
    assert password.time_cost >= 2
    assert random.memory_cost >= 8 * 1024  # of 80 random bits: never guessable
