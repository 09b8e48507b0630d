from __future__ import annotations

import json

import pytest

from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.sites import Site
from ioi_bench.training import TrainConfig

HERE, THERE = Site.parse("z.4.0@end"), Site.parse("v.1.3@s2")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "topk", "k": 9}, "k is 9, expected 1 to d_sae = 8"),
        ({"architecture": "topk", "k": 0}, "k is 0"),
        ({"architecture": "topk"}, "k is None"),
        ({"architecture": "topk", "k": 2, "lam": 1.0}, "topk has no penalty"),
        ({"lam": -0.1}, "lam is -0.1"),
        ({"lam": float("nan")}, "lam is nan"),
        ({"lam": {HERE: -1.0}}, "lam is -1.0"),
        ({"lam": None}, "relu needs lam"),
        ({"k": 3}, "relu has no k"),
        ({"d_sae": 0}, "d_sae is 0, expected a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"warmup_epochs": -1}, "warmup_epochs is -1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(
            **{"architecture": "relu", "d_sae": 8, **({} if settings.get("architecture") else {"lam": 1.0}), **settings}
        )


def test_unknown_architecture():
    with pytest.raises(UnknownNameError, match="did you mean 'gated'"):
        TrainConfig("gate", 8, lam=1.0)
    with pytest.raises(UnknownNameError):
        TrainConfig("skyline", 8, lam=1.0)  # fitted, not trained


def test_lambda_may_differ_by_site():
    config = TrainConfig("relu", 8, lam={HERE: 0.5, THERE: 2.0})
    assert (config.lam_at(HERE), config.lam_at(THERE)) == (0.5, 2.0)
    assert json.loads(json.dumps(config.to_json()))["lam"] == {"v.1.3@s2": 2.0, "z.4.0@end": 0.5}
    with pytest.raises(InputError, match=r"not for q.0.0@end"):
        config.lam_at(Site.parse("q.0.0@end"))
    assert TrainConfig("topk", 8, k=2).lam_at(HERE) == 0.0
