"""Exposure: who could reach something at any moment of a range, by which grant, from when to when.

`places` is what is asked about, `asking` the one rule put to its grants.
"""

from govern.access.exposure.places import Exposure, Interval
from govern.access.exposure.reaching import behind, count, reach, within

__all__ = ["Exposure", "Interval", "behind", "count", "reach", "within"]
