"""The token: whether there is one, and keeping it out of what anybody sees."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ioi_bench.errors import InputError

__all__ = ["check_token", "guarded_logs", "shown", "token", "token_said", "without_secrets"]

_SENDABLE = re.compile(r"[\x21-\x7e]+")  # what an HTTP header carries as one word


def token() -> str | None:
    """The token that the client sends, if it can be read."""
    from huggingface_hub import get_token

    try:
        return get_token()
    except Exception:  # the file that keeps it, or the exchange of an identity for one
        return None


def token_said() -> str:
    """Whether a token is sent, as part of a message, and how to give one."""
    if token() is not None:
        return "a token was sent (HF_TOKEN, or that of `hf auth login`)."
    return "none was sent (set HF_TOKEN, or run `hf auth login`)."


def check_token() -> None:
    """Refuse a token that cannot be sent: the HTTP library would show it in its error.

    Raises:
        InputError: it holds a space, a line break or a letter outside ASCII.
    """
    if (found := token()) is not None and not _SENDABLE.fullmatch(found):
        raise InputError(
            "the token (HF_TOKEN, or that of `hf auth login`) holds a space, a control character or a letter outside "
            "ASCII, which no token has: copy it again"
        )


def without_secrets(text: str) -> str:
    """The text without the token, without anything that looks like one, and without passwords in addresses."""
    if found := (token() or "").strip():
        text = text.replace(found, "***")
    text = re.sub(r"hf_[A-Za-z0-9]{8,}", "***", text)
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)


def shown(error: BaseException) -> BaseException | None:
    """The error, as the cause of ours in a traceback; None where its chain tells a secret."""
    one: BaseException | None = error
    while one is not None:
        if without_secrets(f"{one} {one!r}") != f"{one} {one!r}":
            return None
        one = one.__cause__ or one.__context__
    return error


class _NoSecrets(logging.Filter):
    """Lets every record pass, without its secrets."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_secrets(record.getMessage()), ()
        return True


@contextmanager
def guarded_logs() -> Iterator[None]:
    """What huggingface_hub logs meanwhile (addresses that it tries again, among others) tells no secret."""
    handlers, guard = logging.getLogger("huggingface_hub").handlers[:], _NoSecrets()
    for handler in handlers:
        handler.addFilter(guard)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(guard)
