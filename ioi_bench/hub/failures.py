"""What can go wrong with the Hub, in our words: what happened, and what to do. A token is never in a message."""

from __future__ import annotations

import errno
import re
from typing import Any

from ioi_bench.errors import HubUnavailableError, InputError, IoiBenchError, StorageError, UnknownNameError
from ioi_bench.hub.address import FORM, HubAddress

__all__ = ["endpoint", "explain", "is_passing", "reason_of"]

_DISK = (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.ENOTDIR)
_REASON_LENGTH = 200


def endpoint() -> str:
    """The Hub's address (``HF_ENDPOINT``), without a password that it may hold."""
    from huggingface_hub import constants

    return _without_secrets(constants.ENDPOINT)


def reason_of(error: BaseException) -> str:
    """The first line of what an error says, without secrets."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _without_secrets(lines[0] if lines else type(error).__name__)[:_REASON_LENGTH]


def is_passing(error: Exception) -> bool:
    """Whether the Hub may answer later, so that what the cache holds serves until then.

    False where the Hub answered for good (no such repository, no access) and where the fault is not the Hub's.
    """
    status = _status(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    return (isinstance(error, OSError) and error.errno not in _DISK) or _is_network(error)


def explain(address: HubAddress, error: Exception) -> IoiBenchError:
    """Our error for one that the Hub's client raised.

    Its classes and those of the HTTP library under it change between versions; what is told apart here is told by
    the documented ones (huggingface_hub.errors) and by the HTTP status.
    """
    from huggingface_hub import errors

    if isinstance(error, IoiBenchError):
        return error
    if isinstance(error, errors.HFValidationError):
        return InputError(f"{address} is not an address on the Hub: {reason_of(error)}. Write {FORM}")
    if isinstance(error, errors.GatedRepoError):
        return InputError(_gated(address))
    if isinstance(error, (errors.RevisionNotFoundError, errors.RepositoryNotFoundError)):
        return _not_found(address, sure=isinstance(error, errors.RevisionNotFoundError))
    if isinstance(error, OSError) and error.errno in _DISK:
        return StorageError(
            f"cannot keep {address} in the cache ({error.filename or 'HF_HUB_CACHE'}: {error.strerror}): free some "
            "space, or point HF_HOME or HF_HUB_CACHE elsewhere"
        )
    return _by_status(address, error)


def _by_status(address: HubAddress, error: Exception) -> IoiBenchError:
    """What the HTTP status says; an error without one comes from no answer of the Hub."""
    status = _status(error)
    if status == 401:
        return InputError(
            f"{endpoint()} refuses the token: {_token_said()} Take a new one, or unset it for public files"
        )
    if status == 403:
        return InputError(f"{endpoint()} forbids reading {address}: {_token_said()} Give one whose rights cover it")
    if status == 429:
        waited = _header(error, "retry-after")
        when = f"in {waited} seconds" if waited and waited.isdigit() else "in some minutes"
        more = "" if _token() is not None else "; with HF_TOKEN set, the Hub allows more"
        return HubUnavailableError(f"{endpoint()} answers that there were too many requests: try again {when}{more}")
    if status is not None and status >= 500:
        return HubUnavailableError(f"{endpoint()} is out of order (status {status}) and {_not_cached(address)}")
    if status is not None:
        return HubUnavailableError(f"{endpoint()} answered {address} with status {status}: {reason_of(error)}")
    return HubUnavailableError(f"{endpoint()} gives no answer ({reason_of(error)}) and {_not_cached(address)}")


def _not_cached(address: HubAddress) -> str:
    from huggingface_hub import constants

    return (
        f"{address} is not whole in the cache {constants.HF_HUB_CACHE}: connect once (HF_HUB_OFFLINE unset), set "
        "HF_ENDPOINT to a mirror, point HF_HOME at a cache that holds it, or give a local folder"
    )


def _gated(address: HubAddress) -> str:
    return (
        f"{address.repo!r} is gated: its authors let in those who ask. Ask at {endpoint()}/{address.repo}, then run "
        f"again with a token of that account; {_token_said()}"
    )


def _not_found(address: HubAddress, sure: bool) -> IoiBenchError:
    """No such revision, with near misses among branches and tags, or no such repository.

    Args:
        sure: the Hub says that it is the revision. A mirror may say "no such repository" of a revision: then the
            repository is there if it lists its branches.
    """
    from huggingface_hub import HfApi

    try:
        refs = HfApi().list_repo_refs(address.repo)
    except Exception as error:
        if not sure:
            return InputError(
                f"{endpoint()} shows no model repository {address.repo!r}: check the spelling. One that is private is "
                f"shown only to a token that may read it; {_token_said()}"
            )
        return InputError(
            f"{address.repo!r} has no revision {address.asked!r}: give a branch, a tag or a whole commit (those it has "
            f"could not be listed: {reason_of(error)})"
        )
    names = [ref.name for ref in (*refs.branches, *refs.tags)]
    return UnknownNameError(f"revision of {address.repo}", address.asked, names)


def _token() -> str | None:
    """The token that the client sends, if it can be read."""
    from huggingface_hub import get_token

    try:
        return get_token()
    except OSError:  # the file that keeps it
        return None


def _token_said() -> str:
    if _token() is not None:
        return "a token was sent (HF_TOKEN, or that of `hf auth login`)."
    return "none was sent (set HF_TOKEN, or run `hf auth login`)."


def _status(error: Exception) -> int | None:
    return getattr(_response(error), "status_code", None)


def _header(error: Exception, name: str) -> str | None:
    headers = getattr(_response(error), "headers", None)
    return None if headers is None else headers.get(name)


def _response(error: Exception) -> Any:
    """The response that an error came from, or that its causes came from."""
    seen: BaseException | None = error
    while seen is not None:
        if (response := getattr(seen, "response", None)) is not None:
            return response
        seen = seen.__cause__
    return None


def _is_network(error: Exception) -> bool:
    """Whether an HTTP library (requests, httpx, httpx2: by version of the client) says that no answer came."""
    return type(error).__module__.partition(".")[0] in ("requests", "httpx", "httpx2", "httpcore", "urllib3")


def _without_secrets(text: str) -> str:
    if token := (_token() or "").strip():
        text = text.replace(token, "***")
    text = re.sub(r"hf_[A-Za-z0-9]{8,}", "***", text)
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)
