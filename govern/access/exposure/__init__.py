"""Exposure: who could reach something at any moment of a range, by which grant, from when to when.

`places` is what is asked about, `candidates` its grants that meet the range, `asking` the one rule
put to these, `counting` how many it permitted to.
"""

from govern.access.exposure import sheet
from govern.access.exposure.asking import Asked
from govern.access.exposure.places import Exposure, Found, Interval, Place, placed
from govern.access.exposure.reaching import LOOKED_AT, count, every, reach, reach_of, within

__all__ = [
    "LOOKED_AT", "Asked", "Exposure", "Found", "Interval", "Place", "count", "every", "placed",
    "reach", "reach_of", "sheet", "within",
]  # fmt: skip
