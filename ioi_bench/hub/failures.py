"""What can go wrong with the Hub, in our words: what happened, and what to do. A token is never in a message."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from typing import Any

from ioi_bench.errors import (
    AccessError,
    HubUnavailableError,
    InputError,
    IoiBenchError,
    StorageError,
    UnknownNameError,
)
from ioi_bench.hub.address import FORM, HubAddress
from ioi_bench.hub.tokens import token, token_said, without_secrets

__all__ = ["endpoint", "explain", "explain_upload", "is_passing", "reason_of"]

_DISK = (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.ENOTDIR)
_REASON_LENGTH = 200


def endpoint() -> str:
    """The Hub's address (``HF_ENDPOINT``), without a password that it may hold."""
    from huggingface_hub import constants

    return without_secrets(constants.ENDPOINT)


def reason_of(error: BaseException) -> str:
    """The first line of what an error says, without secrets."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return without_secrets(lines[0] if lines else type(error).__name__)[:_REASON_LENGTH]


def is_passing(error: Exception) -> bool:
    """Whether the Hub may answer later, so that what the cache holds serves until then.

    False where the Hub answered for good (no such repository, no access) and where the fault is not the Hub's.
    """
    status = _status(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    return (isinstance(error, OSError) and error.errno not in _DISK) or _is_network(error)


def explain(address: HubAddress, error: Exception) -> IoiBenchError:
    """Our error for one that the Hub's client raised while reading.

    Its classes and those of the HTTP library under it change between versions; what is told apart here is told by
    the documented ones (huggingface_hub.errors) and by the HTTP status.
    """
    if (known := _by_class(address, error)) is not None:
        return known
    if isinstance(error, OSError) and error.errno in _DISK:
        return StorageError(
            f"cannot keep {address} in the cache ({error.filename or 'HF_HUB_CACHE'}: {error.strerror}): free some "
            "space, or point HF_HOME or HF_HUB_CACHE elsewhere"
        )
    status = _status(error)
    if status == 403:
        return AccessError(f"{endpoint()} forbids reading {address}: {token_said()} Give one whose rights cover it")
    if (known := _by_status(error)) is not None:
        return known
    if status is not None and status >= 500:
        return HubUnavailableError(f"{endpoint()} is out of order (status {status}) and {_not_cached(address)}")
    if status is not None:
        return HubUnavailableError(f"{endpoint()} answered {address} with status {status}: {reason_of(error)}")
    return HubUnavailableError(f"{endpoint()} gives no answer ({reason_of(error)}) and {_not_cached(address)}")


def explain_upload(address: HubAddress, error: Exception, *, pull_request: bool, committing: bool) -> IoiBenchError:
    """Our error for one that the Hub's client raised while writing.

    Args:
        pull_request: whether one was to be opened; if not, it is what somebody without the right to write can do.
        committing: whether the commit had been sent, so that nobody knows whether it was made.
    """
    if (known := _by_class(address, error)) is not None:
        return known
    status, left = _status(error), _left(committing)
    local = next((one for one in _chain(error) if isinstance(one, OSError) and one.filename), None)
    if local is not None:
        return InputError(f"cannot read {str(local.filename)!r} ({local.strerror}), which was to be uploaded. {left}")
    if status == 400:
        return InputError(f"{endpoint()} refuses what was sent to {address}: {_said(error)}. {left}")
    if status == 403:
        return InputError(
            f"{endpoint()} forbids writing to {address} ({_said(error)}): {token_said()} {_may(pull_request)}"
        )
    if status in (409, 412):
        return HubUnavailableError(f"{address} changed while it was written to ({_said(error)}). {left}")
    if status == 413:
        return InputError(f"{endpoint()} refuses so large an upload to {address} ({_said(error)}). {left}")
    if (known := _by_status(error)) is not None:
        return type(known)(f"{known}. {left}")
    if status is not None:
        return HubUnavailableError(
            f"{endpoint()} is out of order (status {status}) in the middle of the upload to {address}. {left}"
        )
    if _is_network(error) or isinstance(error, OSError):
        how = "unset HF_HUB_OFFLINE, or connect" if "offline" in type(error).__name__.lower() else "connect"
        return HubUnavailableError(
            f"{endpoint()} gives no answer ({reason_of(_innermost(error))}), so the upload to {address} stopped: "
            f"{how}, and run again. {left}"
        )
    return HubUnavailableError(f"the upload to {address} failed: {_said(error)}. {left}")


def _left(committing: bool) -> str:
    if committing:
        return "The commit may or may not have been made: run again, and what is there already is not committed twice"
    return "Nothing was committed: run again; large files that have arrived are kept and not sent twice"


def _may(pull_request: bool) -> str:
    if pull_request:
        return "Give one that may open pull requests (role write, or the right to take part in discussions)"
    return "Give one with the right to write, open a pull request instead, or ask the owners of the repository"


def _by_class(address: HubAddress, error: Exception) -> IoiBenchError | None:
    """What is told apart by a documented class, reading and writing alike."""
    from huggingface_hub import errors

    if isinstance(error, IoiBenchError):
        return error
    if isinstance(error, errors.HFValidationError):
        return InputError(f"{address} is not an address on the Hub: {reason_of(error)}. Write {FORM}")
    if isinstance(error, errors.GatedRepoError):
        return AccessError(_gated(address))
    if isinstance(error, (errors.RevisionNotFoundError, errors.RepositoryNotFoundError)):
        return _not_found(address, sure=isinstance(error, errors.RevisionNotFoundError))
    return None


def _by_status(error: Exception) -> IoiBenchError | None:
    """What the HTTP status says, reading and writing alike."""
    status = _status(error)
    if status == 401:
        return AccessError(
            f"{endpoint()} refuses the token: {token_said()} Take a new one, or unset it for public files"
        )
    if status == 429:
        seconds = _wait(error)
        when = "in some minutes" if seconds is None else f"in {seconds} seconds"
        more = "" if token() is not None else "; with HF_TOKEN set, the Hub allows more"
        return HubUnavailableError(f"{endpoint()} answers that there were too many requests: try again {when}{more}")
    return None


def _not_cached(address: HubAddress) -> str:
    from huggingface_hub import constants

    return (
        f"{address} is not whole in the cache {constants.HF_HUB_CACHE}: connect once (HF_HUB_OFFLINE unset), set "
        "HF_ENDPOINT to a mirror, point HF_HOME at a cache that holds it, or give a local folder"
    )


def _gated(address: HubAddress) -> str:
    return (
        f"{address.repo!r} is gated: its authors let in those who ask. Ask at {endpoint()}/{address.page}, then run "
        f"again with a token of that account; {token_said()}"
    )


def _not_found(address: HubAddress, sure: bool) -> IoiBenchError:
    """No such revision, with near misses among branches and tags, or no such repository.

    Args:
        sure: the Hub says that it is the revision. A mirror may say "no such repository" of a revision: then the
            repository is there if it lists its branches.
    """
    from huggingface_hub import HfApi

    try:
        refs = HfApi().list_repo_refs(address.repo, repo_type=address.kind)
    except Exception as error:
        if not sure:
            return InputError(
                f"{endpoint()} shows no {address.kind} repository {address.repo!r}: check the spelling. One that is "
                f"private is shown only to a token that may read it; {token_said()}"
            )
        return InputError(
            f"{address.repo!r} has no revision {address.asked!r}: give a branch, a tag or a whole commit (those it has "
            f"could not be listed: {reason_of(error)})"
        )
    names = [ref.name for ref in (*refs.branches, *refs.tags)]
    return UnknownNameError(f"revision of {address.repo}", address.asked, names)


def _said(error: Exception) -> str:
    """What the server said, or else the error, in one line."""
    said = next((said for one in _chain(error) if (said := getattr(one, "server_message", None))), None) or str(error)
    line = " ".join(without_secrets(said).split())
    return (line or type(error).__name__)[: 2 * _REASON_LENGTH].rstrip(".")


def _wait(error: Exception) -> int | None:
    """Seconds until the Hub answers again: ``Retry-After``, or ``t=`` of the draft ``RateLimit`` that the Hub sends."""
    headers = getattr(_response(error), "headers", None) or {}
    if (waited := headers.get("retry-after", "")).isdigit():
        return int(waited)
    found = re.search(r"\bt\s*=\s*(\d+)", headers.get("ratelimit", ""))
    return int(found[1]) if found else None


def _status(error: Exception) -> int | None:
    return getattr(_response(error), "status_code", None)


def _response(error: Exception) -> Any:
    """The response that an error came from, or that its causes came from."""
    return next((found for one in _chain(error) if (found := getattr(one, "response", None)) is not None), None)


def _is_network(error: Exception) -> bool:
    """Whether an HTTP library (requests, httpx, httpx2: by version of the client) says that no answer came."""
    libraries = ("requests", "httpx", "httpx2", "httpcore", "httpcore2", "urllib3")
    return any(type(one).__module__.partition(".")[0] in libraries for one in _chain(error))


def _innermost(error: Exception) -> BaseException:
    return list(_chain(error))[-1]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__
