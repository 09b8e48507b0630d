"""Directions that are not what the decoder does."""

from __future__ import annotations

from trained import trained
from zoo import Animal, Plain


class _Declared(Plain):
    def decode(self, f):
        return 0.5 * f @ self.directions + self.offset


def _make(known, site):
    own = trained(site)
    return _Declared(own.directions, own.offset, own.encode)


ANIMAL = Animal(
    name="directions that disagree",
    idea="edits are made along the declared directions, reconstructions by another decoder",
    because="decode is compared with the declared form on random codes",
    make=_make,
    caught="refused",
    says="decode is not affine",
)
