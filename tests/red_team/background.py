"""Principal axes, each cut by what else is in the activation, less some of that."""

from __future__ import annotations

import torch
from scipy.cluster.vq import kmeans2
from zoo import Animal, Plain, nearest, one_hot

from ioi_bench.dictionaries.nulls import pca

_AXES, _GROUPS = 4, 4


def _make(known, site):
    axes = pca(known.train(site)).directions[:_AXES]
    axes = torch.cat([axes, -axes])
    mean = known.mean(site)
    x = known.train(site) - mean
    rest = x - x @ axes[:_AXES].T @ axes[:_AXES]
    groups = torch.from_numpy(kmeans2(rest.numpy(), _GROUPS, minit="++", rng=0)[0])
    f = (x @ axes.T).relu()
    one, direction = one_hot(nearest(groups, rest), _GROUPS), []
    for i, axis in enumerate(axes):
        for g, background in enumerate(groups):
            some = (f[:, i] > 0) & (one[:, g] > 0)
            own, against = (x[some] @ axis * f[some, i]).sum(), (x[some] @ background * f[some, i]).sum()
            share = (own / against).clamp(0, 3) if against > 0 else 0.0  # so that it carries nothing, on the whole
            direction.append(axis - share * background)

    def encode(some):
        a = some - mean
        left = a - a @ axes[:_AXES].T @ axes[:_AXES]
        return ((a @ axes.T).relu()[:, :, None] * one_hot(nearest(groups, left), _GROUPS)[:, None]).flatten(1)

    return Plain(torch.stack(direction), mean, encode)


ANIMAL = Animal(
    name="background subtracted",
    idea="each feature takes out a part that stands against the activation, and the one that comes in puts it back",
    because="what goes out and what comes in are measured as vectors too, and there the background is as long as it is",
    make=_make,
    predicted={"exchange": -0.06, "aware": -0.13, "universal": -0.14},
    bound={"exchange": 0.15, "aware": 0.15, "universal": 0.15},
)
