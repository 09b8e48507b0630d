"""Features that are finite in double precision only."""

from __future__ import annotations

from trained import trained
from zoo import Animal, Plain


def _make(known, site):
    own = trained(site)
    return Plain(own.directions, own.offset, lambda x: own.encode(x).double() * 1e300)


ANIMAL = Animal(
    name="finite in double precision",
    idea="1e300 passes a check for Inf, and is Inf once it is stored in single precision",
    because="features are converted before they are checked",
    make=_make,
    caught="refused",
    says="NaN or Inf",
)
