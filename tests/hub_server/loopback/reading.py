"""The endpoints that read."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs

from loopback.calls import Call, Content, Refused
from loopback.hub import BAD_TOKEN, NO_ENTRY
from loopback.repository import DATE, File, PullRequest, Repository

PAGE = 1000  # entries of a tree, and commits, in one answer
DISCUSSIONS = 10


def whoami(call: Call) -> Any:
    if (user := call.user) is None:
        raise Refused(BAD_TOKEN)
    orgs = [{"type": "org", "name": org} for org in user.orgs]
    token = {"type": "access_token", "accessToken": {"displayName": "test", "role": user.role}}
    return {"type": "user", "name": user.name, "orgs": orgs, "auth": token}


def info(call: Call) -> Any:
    repository = call.repository()
    commit = call.commit(repository)
    about = {"id": repository.name, "author": repository.name.partition("/")[0], "sha": commit.oid}
    state = {"private": repository.private, "gated": "manual" if repository.gated else False, "disabled": False}
    counts = {"likes": 0, "downloads": 0, "tags": [], "createdAt": DATE, "lastModified": DATE}
    return {**about, **state, **counts, "siblings": [{"rfilename": name} for name in commit.files]}


def tree(call: Call) -> Any:
    repository = call.repository()
    files = call.commit(repository).files
    place = call.names.get("path", "")
    inside = [name for name in files if not place or name.startswith(place + "/")]
    if place and not inside:
        raise Refused(NO_ENTRY)
    entries = {name: entry(repository, name, files[name]) for name in inside}
    for folder in {str(parent) for name in inside for parent in PurePosixPath(name).parents} - {".", place}:
        entries[folder] = {"type": "directory", "path": folder, "size": 0, "oid": "0" * 40}
    if call.asks("recursive").lower() not in ("1", "true"):
        entries = {name: one for name, one in entries.items() if str(PurePosixPath(name).parent) == (place or ".")}
    return _page(call, [entries[name] for name in sorted(entries)])


def entry(repository: Repository, name: str, file: File) -> dict[str, Any]:
    """A file, as trees and paths-info list it."""
    size = repository.claimed.get(name, len(file.data))
    listed: dict[str, Any] = {"type": "file", "path": name, "size": size, "oid": file.oid}
    if file.large:
        listed["lfs"] = {"oid": file.sha256, "size": size, "pointerSize": len(file.pointer)}
    return listed


def paths_info(call: Call) -> Any:
    repository = call.repository()
    files = call.commit(repository).files
    names = parse_qs(call.body.decode()).get("paths", [])
    return [entry(repository, name, files[name]) for name in names if name in files]


def refs(call: Call) -> Any:
    repository, found = call.repository(), {}
    for kind, start in (("branches", "refs/heads/"), ("tags", "refs/tags/"), ("pullRequests", "refs/pr/")):
        found[kind] = [
            {"name": ref.removeprefix(start) if start != "refs/pr/" else ref, "ref": ref, "targetCommit": oid}
            for ref, oid in repository.refs.items()
            if ref.startswith(start)
        ]
    if not call.asks("include_prs"):
        del found["pullRequests"]
    return {**found, "converts": []}


def commits(call: Call) -> Any:
    repository = call.repository()
    found = repository.commits(call.commit(repository).oid)
    return _page(
        call,
        [
            {
                "id": one.oid,
                "title": one.title,
                "message": one.description,
                "authors": [{"user": one.author}],
                "date": DATE,
            }
            for one in found
        ],
    )


def _page(call: Call, entries: list[Any]) -> list[Any]:
    """A part of a long list; the header ``Link`` leads to the next."""
    start = int(call.asks("cursor", "0"))
    if start + PAGE < len(entries):
        kind, repo = call.names.get("kind", "model"), call.names["repo"]
        what = "tree" if entries and "path" in entries[0] else "commits"
        query = f"recursive={call.asks('recursive')}&cursor={start + PAGE}"
        place = f"/{call.names['path']}" if "path" in call.names else ""
        revision = call.names["revision"].replace("/", "%2F")
        url = f"{call.hub.url}/api/{kind}s/{repo}/{what}/{revision}{place}?{query}"
        call.answered["Link"] = f'<{url}>; rel="next"'
    return entries[start : start + PAGE]


def discussions(call: Call) -> Any:
    repository = call.repository()
    kind, status, author = call.asks("type", "all"), call.asks("status", "all"), call.asks("author")
    found = [
        one
        for one in reversed(repository.pull_requests)
        if kind in ("all", "pull_request")
        and (status == "all" or (one.status in ("open", "draft")) == (status == "open"))
        and author in ("", one.author)
    ]
    start = DISCUSSIONS * int(call.asks("p", "0"))
    shown = [_summary(repository, one) for one in found[start : start + DISCUSSIONS]]
    return {"discussions": shown, "count": len(found), "start": start}


def _summary(repository: Repository, one: PullRequest) -> dict[str, Any]:
    return {
        "num": one.number,
        "title": one.title,
        "author": {"name": one.author},
        "createdAt": DATE,
        "status": one.status,
        "repo": {"name": repository.name, "type": repository.kind},
        "isPullRequest": True,
    }


def pull_request(call: Call, repository: Repository) -> PullRequest:
    number = int(call.names["number"])
    if not 1 <= number <= len(repository.pull_requests):
        raise Refused((404, {"X-Error-Message": "Discussion not found"}))
    return repository.pull_requests[number - 1]


def discussion(call: Call) -> Any:
    repository = call.repository()
    one = pull_request(call, repository)
    texts = [(one.author, one.description), *one.comments]
    events = [event(number, author, text) for number, (author, text) in enumerate(texts)]
    base = repository.at(one.base)
    for commit in reversed(repository.commits(one.revision)):
        if base is not None and commit not in repository.commits(base.oid):
            data = {"subject": commit.title, "oid": commit.oid}
            events.append({**_event(len(events), commit.author), "type": "commit", "data": data})
    changes = {"base": one.base, **({"mergeCommitId": base.oid} if one.status == "merged" and base else {})}
    return {**_summary(repository, one), "events": events, "changes": changes, "filesWithConflicts": [], "diff": ""}


def event(number: int, author: str, text: str) -> dict[str, Any]:
    """A comment on a pull request."""
    data = {"edited": False, "hidden": False, "latest": {"raw": text}}
    return {**_event(number, author), "type": "comment", "data": data}


def _event(number: int, author: str) -> dict[str, Any]:
    return {"id": f"{number:016x}", "createdAt": DATE, "author": {"name": author}}


def resolve(call: Call) -> Content:
    """A file; a large one is elsewhere, as on the Hub, where a signature stands for the right to read it."""
    repository = call.repository()
    commit = call.commit(repository)
    call.check_files(repository)
    if (file := commit.files.get(call.names["path"])) is None:
        status, headers = NO_ENTRY
        raise Refused((status, {**headers, "X-Repo-Commit": commit.oid}))
    headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{file.etag}"'}
    if not file.large or not call.hub.redirects:
        return Content(file.data, headers)
    linked = {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.data))}
    place = object_url(call, repository, file.sha256)
    return Content(b"", {**headers, **linked, "Location": place}, status=302)


def object_url(call: Call, repository: Repository, sha256: str) -> str:
    """Where a large file is, for who may read or write it."""
    return f"{call.hub.storage}/objects/{repository.kind}/{repository.name}/{sha256}?signature={signature(sha256)}"


def signature(sha256: str) -> str:
    return sha256[:8][::-1]


def stored(call: Call) -> Repository:
    """The repository of a large file, for who shows the signature."""
    if call.asks("signature") != signature(call.names["oid"]):
        raise Refused((403, {}))
    return call.hub.repositories[call.names["kind"], call.names["repo"]]


def lfs_get(call: Call) -> Content:
    data = stored(call).large.get(call.names["oid"])
    if data is None:
        raise Refused((404, {}))
    return Content(data, {"ETag": f'"{call.names["oid"][:32]}"'})
