"""A proof has one text and a text one proof; what is none is refused."""

from __future__ import annotations

import pytest

from govern.tlog import proof
from govern.tlog.errors import ProofShapeError
from govern.tlog.proof import Proof

# The example of C2SP tlog-proof, without its extra line, and its cosignatures shortened.
TEXT = """\
c2sp.org/tlog-proof@v1
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

— example.com/fancylog hI2DJw==
"""


def test_a_proof_is_read_and_written_byte_for_byte() -> None:
    found = proof.parse(TEXT)
    assert (found.index, len(found.hashes)) == (73894, 2)
    assert found.checkpoint.startswith(b"example.com/fancylog\n109482\n")
    assert found.text() == TEXT
    assert proof.parse(Proof(0, (), found.checkpoint).text()).hashes == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("@v1", "@v2"),
        ("index 73894", "index 073894"),
        ("index 73894", "index -1"),
        ("index 73894\n", ""),
        ("index 73894", "extra QQ==\nindex 73894"),
        ("PlQ=\n", "PlR=\n"),
        ("PlQ=\n", "!\n"),
        ("\n\n", "\n"),
    ],
)
def test_what_is_no_proof_is_refused(old: str, new: str) -> None:
    with pytest.raises(ProofShapeError):
        proof.parse(TEXT.replace(old, new))
