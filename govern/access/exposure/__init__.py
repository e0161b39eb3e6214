"""Exposure: who could reach something at any moment of a range, by which grant, from when to when.

`places` is what is asked about, `asking` the one rule put to its grants, `counting` how many it
permitted to.
"""

from govern.access.exposure.asking import Asked
from govern.access.exposure.places import Exposure, Interval, Place, placed
from govern.access.exposure.reaching import count, reach, reach_of, within

__all__ = [
    "Asked", "Exposure", "Interval", "Place", "count", "placed", "reach", "reach_of", "within",
]  # fmt: skip
