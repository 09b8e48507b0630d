"""A decoder that is affine on codes such as a check draws, and not on its own."""

from __future__ import annotations

from trained import trained
from zoo import Animal, Plain


class _Selective(Plain):
    def decode(self, f):
        own = (f != 0).sum(1, keepdim=True) == 3  # random codes have some other number of active features
        return f @ self.directions * (1 + own) + self.offset


def _make(known, site):
    own = trained(site)
    return _Selective(own.directions, own.offset, own.encode)


ANIMAL = Animal(
    name="affine where it is checked",
    idea="decode is affine on the codes that are drawn to check it, and something else on its own",
    because="it is checked on the features of the judged prompts too",
    make=_make,
    caught="refused",
    says="on its own features: decode is not affine",
)
