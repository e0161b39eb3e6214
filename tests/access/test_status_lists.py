"""Status lists: packed as the draft's examples are, and signed over what the tables say now."""

from __future__ import annotations

import base64
import zlib

import pytest

from govern.access import status_lists
from govern.client.statuses import StatusList


@pytest.mark.parametrize(
    ("bits", "values", "packed", "compressed"),
    [  # the two lists of §4.1 of the draft
        (1, [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1], "b9a3", "78dadbb918000217015d"),
        (2, [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3], "c944f9", "78da3be9f2130003df0207"),
    ],
)
def test_statuses_are_packed_as_in_the_examples_of_the_draft(
    bits: int, values: list[int], packed: str, compressed: str
) -> None:
    found = status_lists.encode(dict(enumerate(values)), len(values), bits=bits)
    assert found.hex() == packed
    text = status_lists.compressed(found)
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert raw.hex() == compressed
    assert zlib.decompress(raw) == found
    read = StatusList.read({"bits": bits, "lst": text})
    assert [read.value(index) for index in range(len(values))] == values
