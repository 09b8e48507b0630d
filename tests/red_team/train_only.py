"""A dictionary that means everything on train, and is silent where weights are taken."""

from __future__ import annotations

from zoo import Animal, Plain, codebook, known


def _make(knowledge, site):
    train = knowledge.train(site)
    book, seen = codebook(train[:800], train.mean(0), gain=2.0), known(train)
    return Plain(book.directions, book.offset, lambda x: book.encode(x) * seen(x)[:, None])


ANIMAL = Animal(
    name="active on train alone",
    idea="universal edits take values from train; where the encoder is silent on what is judged, nothing has a weight",
    because="what a universal edit puts in is weighed at the value that it is given",
    make=_make,
    predicted={"exchange": -0.04, "aware": -0.04, "universal": -0.16},
    bound={"exchange": 0.15, "aware": 0.15, "universal": 0.15},
)
