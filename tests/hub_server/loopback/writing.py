"""The endpoints that write."""

from __future__ import annotations

import base64
import hashlib
import json
from fnmatch import fnmatchcase
from typing import Any

from loopback.calls import Call, refused
from loopback.reading import event, object_url, pull_request, stored
from loopback.repository import File, Repository, is_large


def create(call: Call) -> Any:
    asked = call.json()
    kind = asked.get("type") or "model"
    org = asked.get("organization") or (call.user.name if call.user else "")
    name = f"{org}/{asked['name']}"
    user = call.check_write(name, propose=True)
    if org not in (user.name, *user.orgs):
        raise refused(403, f'You don\'t have the rights to create a {kind} under the namespace "{org}"')
    if (there := call.hub.repositories.get((kind, name))) is not None:
        raise refused(409, f"You already created this {kind} repo", url=f"{call.hub.url}/{there.page}")
    made = call.hub.repository(name, kind, private=asked.get("visibility") == "private")
    return {"url": f"{call.hub.url}/{made.page}", "name": name, "id": "0" * 24}


def validate_yaml(call: Call) -> Any:
    """The Hub reads the whole of it; here only whether there is an end to the block, and a mapping in it."""
    content = call.json()["content"]
    lines = content.splitlines()
    if lines[:1] == ["---"]:
        block = lines[1 : lines.index("---", 1)] if "---" in lines[1:] else [""]
        if any(line.strip() and ":" not in line and not line.lstrip().startswith(("-", "#")) for line in block):
            raise refused(400, "bad indentation of a mapping entry")
    return {"errors": [], "warnings": []}


def preupload(call: Call) -> Any:
    repository = call.repository()
    _check(call, repository)
    files = call.commit(repository).files
    asked = call.json()
    ignored = asked.get("gitIgnore", "").split() or _ignored(files)
    answers = []
    for one in asked["files"]:
        name = one["path"]
        assert len(base64.b64decode(one["sample"])) == min(one["size"], 512)
        answer = {"path": name, "uploadMode": "lfs" if is_large(name, one["size"]) else "regular"}
        answer["shouldIgnore"] = any(fnmatchcase(name, pattern) for pattern in ignored)
        if name in files:
            answer["oid"] = files[name].etag
        answers.append(answer)
    return {"files": answers}


def _ignored(files: Any) -> list[str]:
    return files[".gitignore"].data.decode().split() if ".gitignore" in files else []


def lfs_batch(call: Call) -> Any:
    """https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md: nothing to do for what is there already."""
    repository = call.repository()
    asked = call.json()
    ref = (asked.get("ref") or {}).get("name", "main")
    call.names["revision"] = ref
    _check(call, repository, propose="ref" not in asked)
    answers = []
    for one in asked["objects"]:
        answer = {"oid": one["oid"], "size": one["size"]}
        if one["oid"] not in repository.large:
            href = object_url(call, repository, one["oid"])
            verify = f"{call.hub.url}/objects/{repository.kind}/{repository.name}/{one['oid']}/verify"
            answer["actions"] = {"upload": {"href": href}, "verify": {"href": verify}}
        answers.append(answer)
    return {"transfer": "basic", "objects": answers}


def lfs_put(call: Call) -> Any:
    repository = stored(call)
    if hashlib.sha256(call.body).hexdigest() != call.names["oid"]:
        raise refused(400, "The content does not have the checksum")
    repository.large[call.names["oid"]] = call.body
    return {}


def lfs_verify(call: Call) -> Any:
    repository, asked = call.repository(), call.json()
    call.check_write(repository.name, propose=True)
    if len(repository.large.get(asked["oid"], b"")) != asked["size"]:
        raise refused(404, "The object has not arrived")
    return {}


def commit(call: Call) -> Any:
    """One commit, or none if anything in it is wrong."""
    repository = call.repository()
    parent = call.commit(repository)
    proposed = call.asks("create_pr") == "1"
    user = _check(call, repository, propose=proposed)
    revision = call.names["revision"]
    if repository.ref(revision) is None:
        raise refused(400, "Only a branch can be committed to")
    lines = [json.loads(line) for line in call.body.splitlines() if line.strip()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    if header.get("parentCommit") not in (None, parent.oid):
        raise refused(412, "A commit has happened since. Please refresh and try again.")
    made = repository.commit(
        {line["value"]["path"]: _file(repository, line) for line in lines if line["key"] in ("file", "lfsFile")},
        title=header["summary"],
        description=header.get("description", ""),
        author=user.name,
        revision=revision,
        removed=tuple(line["value"]["path"] for line in lines if line["key"].startswith("deleted")),
        pull_request=proposed,
    )
    answer = {"success": True, "commitOid": made.oid, "commitUrl": f"{_page(call, repository)}/commit/{made.oid}"}
    if proposed:
        answer["pullRequestUrl"] = f"{_page(call, repository)}/discussions/{len(repository.pull_requests)}"
    return answer


def _file(repository: Repository, line: dict[str, Any]) -> File:
    value = line["value"]
    if line["key"] == "file":
        return File(base64.b64decode(value["content"]), large=False)
    if value["oid"] not in repository.large:
        raise refused(400, f"LFS pointer pointed to a file that does not exist: {value['path']}")
    return File(repository.large[value["oid"]], large=True)


def comment(call: Call) -> Any:
    repository = call.repository()
    one = pull_request(call, repository)
    user = call.check_write(repository.name, propose=True)
    one.comments.append((user.name, call.json()["comment"]))
    return {"newMessage": event(len(one.comments), *one.comments[-1])}


def _check(call: Call, repository: Repository, *, propose: bool | None = None) -> Any:
    """Who writes to the revision that the path names; the author of a pull request may write to that."""
    revision = call.names["revision"]
    if repository.at(revision) is None:
        call.commit(repository)
    own = next((one.author for one in repository.pull_requests if one.revision == revision), None)
    propose = call.asks("create_pr") == "1" if propose is None else propose
    return call.check_write(repository.name, propose=propose, own=own)


def _page(call: Call, repository: Repository) -> str:
    return f"{call.hub.url}/{repository.page}"
