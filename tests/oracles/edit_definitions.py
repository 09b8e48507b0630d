"""METHOD §5 in plain loops: what each edit method must do on one prompt."""

from __future__ import annotations

import math

Vector = list[float]
Round = tuple[int, int, Vector]  # removed, added, activation afterwards


def plus(a: Vector, weight: float, direction: Vector) -> Vector:
    return [x + weight * y for x, y in zip(a, direction, strict=True)]


def distance(a: Vector, b: Vector) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


class Prompt:
    """One prompt of the inputs as plain lists."""

    def __init__(self, inputs, p):
        self.a_s, self.a_t, self.f_s, self.f_t = (
            x[p].tolist() for x in (inputs.a_s, inputs.a_t, inputs.f_s, inputs.f_t)
        )
        self.d = inputs.decoder.directions.tolist()
        self.base, self.target = int(inputs.base[p]), int(inputs.target[p])
        self.f1 = [[0 if math.isnan(x) else x for x in row] for row in inputs.train.f1.tolist()]
        self.mean = inputs.train.conditional_mean.tolist()
        self.tie = 1e-9 * distance(self.a_s, self.a_t)

    def nearest(self, a: Vector, changes: dict[int, float]) -> int:
        """The feature whose change brings ``a`` nearest to ``a_t``: the lowest index of those that tie."""
        distances = {j: distance(plus(a, change, self.d[j]), self.a_t) for j, change in changes.items()}
        limit = min(distances.values()) + self.tie
        return min(j for j, d in distances.items() if d <= limit)

    def ranking(self, value: int, features) -> list[int]:
        return sorted(features, key=lambda j: (-self.f1[value][j], j))


def exchange(p: Prompt, rounds: int) -> list[Round]:
    a, done = p.a_s, []
    changes = {j: p.f_t[j] - p.f_s[j] for j in range(len(p.d))}
    for _ in range(rounds):
        removed = added = -1
        if changes:
            j = p.nearest(a, changes)
            change = changes.pop(j)  # never re-chosen
            a = plus(a, change, p.d[j])
            removed = j if change and p.f_s[j] else -1
            added = j if change and p.f_t[j] else -1
        done.append((removed, added, a))
    return done


def split(p: Prompt, rounds: int) -> list[Round]:
    a, done = p.a_s, []
    removals = {j: -f for j, f in enumerate(p.f_s) if f}
    additions = {j: f for j, f in enumerate(p.f_t) if f}
    for _ in range(rounds):
        picks = []
        for changes in (removals, additions):
            j = p.nearest(a, changes) if changes else -1
            if j >= 0 and distance(plus(a, changes[j], p.d[j]), p.a_t) < distance(a, p.a_t) - p.tie:
                a = plus(a, changes.pop(j), p.d[j])
            else:
                j = -1
            picks.append(j)
        done.append((*picks, a))
    return done


def aware(p: Prompt, rounds: int) -> list[Round]:
    out = p.ranking(p.base, [j for j, f in enumerate(p.f_s) if f])
    into = p.ranking(p.target, [j for j, f in enumerate(p.f_t) if f])
    return carried_out(p, rounds, out, into, p.f_t)


def universal(p: Prompt, rounds: int) -> list[Round]:
    out = p.ranking(p.base, [j for j, f in enumerate(p.f_s) if f])
    into = p.ranking(p.target, range(len(p.d)))
    mean = p.mean[p.target]
    return carried_out(p, rounds, out, [j if mean[j] else -1 for j in into], mean)


def carried_out(p: Prompt, rounds: int, out: list[int], into: list[int], value: Vector) -> list[Round]:
    a, done = p.a_s, []
    for i in range(rounds):
        removed = out[i] if i < len(out) else -1
        added = into[i] if i < len(into) else -1
        a = plus(a, -p.f_s[removed], p.d[removed]) if removed >= 0 else a
        a = plus(a, value[added], p.d[added]) if added >= 0 else a
        done.append((removed, added, a))
    return done


ORACLES = {"exchange": exchange, "split": split, "aware": aware, "universal": universal}
