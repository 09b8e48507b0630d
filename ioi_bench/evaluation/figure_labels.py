"""Where the labels of a picture's points go, so that none lies on a point or on another label."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["FONT_SIZE", "place_labels"]

FONT_SIZE = 9
_DIGIT_WIDTH = 5.2
_MARK_RADIUS = 4.5
_DISTANCES = (9.0, 13.0, 18.0)
_ANGLES = (-45, 45, -135, 135, -90, 90, 0, 180)  # clockwise from the right: above to the right comes first

Place = tuple[float, float]
_Box = tuple[float, float, float, float]


def place_labels(
    labelled: Sequence[tuple[Place, str]], marks: Sequence[Place], width: float, height: float
) -> list[Place | None]:
    """The centre of each label, near to its point; None where there is no room for it.

    Labels are placed in their order, each in the first free place about its point.

    Args:
        labelled: points and texts, in pixels from the upper left corner.
        marks: all points, these among them.
        width, height: of the panel.

    >>> place_labels([((50, 50), "1"), ((50, 52), "2")], [(50, 50), (50, 52)], 100, 100)
    [(56.36396103067893, 43.63603896932107), (56.36396103067893, 58.36396103067893)]
    """
    taken: list[_Box] = []
    found: list[Place | None] = []
    for point, text in labelled:
        place = next((p for p in _about(point) if _is_free(_box(p, text), taken, marks, width, height)), None)
        found.append(place)
        if place is not None:
            taken.append(_box(place, text))
    return found


def _about(point: Place) -> list[Place]:
    turns = [(distance, math.radians(angle)) for distance in _DISTANCES for angle in _ANGLES]
    return [(point[0] + far * math.cos(turn), point[1] + far * math.sin(turn)) for far, turn in turns]


def _box(place: Place, text: str) -> _Box:
    """Left, top, right and bottom."""
    x, y = place
    half = len(text) * _DIGIT_WIDTH / 2
    return x - half, y - FONT_SIZE * 0.4, x + half, y + FONT_SIZE * 0.4  # digits are lower than the font is high


def _is_free(box: _Box, taken: Sequence[_Box], marks: Sequence[Place], width: float, height: float) -> bool:
    left, top, right, bottom = box
    if left < 0 or top < 0 or right > width or bottom > height:
        return False
    if any(left < x2 and x1 < right and top < y2 and y1 < bottom for x1, y1, x2, y2 in taken):
        return False
    return all(math.hypot(x - min(max(x, left), right), y - min(max(y, top), bottom)) >= _MARK_RADIUS for x, y in marks)
