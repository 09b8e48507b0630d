"""A Hub on the loopback address: the endpoints that huggingface_hub uses, and what the real one answers if it refuses.

olah serves what goes well; this serves what goes wrong. Statuses and headers are those that huggingface_hub documents
in `hf_raise_for_status`: X-Error-Code and X-Error-Message, and Retry-After.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c" * 40

# What a refusing Hub answers: status and headers.
GATED = (403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to model org/repo is restricted."})
GATED_TO_NOBODY = (401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "You must be authenticated to access it."})
NO_REPOSITORY = (401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
NO_REVISION = (404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
NO_ENTRY = (404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
BAD_TOKEN = (401, {"X-Error-Message": "Invalid credentials in Authorization header"})
FORBIDDEN = (403, {"X-Error-Message": "Your token has no right to read this"})
TOO_MANY = (429, {"Retry-After": "7", "X-Error-Message": "Too many requests"})
OUT_OF_ORDER = (503, {})
NOT_NOW = (501, {})  # as out of order, but the client does not wait and try again

_API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/(?P<what>revision|tree|refs)(?:/(?P<revision>[^/]+))?")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass
class Hub:
    """One repository with one commit, on the branch ``main`` and the tag ``v1``.

    Attributes:
        files: name to content.
        refusal: what every request is answered with, if anything.
        refuse_files: the refusal is for the files alone; the listing is public, as that of gated repositories is.
        cuts: how often the connection breaks off in the middle of a file of more than 1 kB.
        sizes: what the listing claims of a file's size, instead of the truth.
        requests: method, path and the Range asked for, of every request.
        tokens: of every request; None where none was sent.
    """

    files: dict[str, bytes]
    repo: str = "org/repo"
    refusal: tuple[int, dict[str, str]] | None = None
    refuse_files: bool = False
    cuts: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    url: str = ""

    def fetched(self) -> list[str]:
        """Names of the files whose content was asked for."""
        matches = (_FILE.fullmatch(path) for method, path, _ in self.requests if method == "GET")
        return sorted({match["path"] for match in matches if match})

    def ranges(self) -> list[str]:
        return [asked for method, _, asked in self.requests if method == "GET" and asked]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _answer(self):
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.requests.append((self.command, path, self.headers.get("Range")))
        hub.tokens.append((self.headers.get("Authorization") or "").removeprefix("Bearer ") or None)
        api, file = _API.fullmatch(path), _FILE.fullmatch(path)
        if hub.refusal is not None and (file or not hub.refuse_files):
            self._send(*hub.refusal)
        elif (api or file) is None or (api or file)["repo"] != hub.repo:
            self._send(*NO_REPOSITORY)
        elif (api or file)["revision"] not in (None, "main", "v1", COMMIT):
            self._send(*NO_REVISION)
        elif api:
            self._json({"revision": self._info, "tree": self._tree, "refs": self._refs}[api["what"]]())
        elif file["path"] not in hub.files:
            self._send(*NO_ENTRY)
        else:
            self._file(hub.files[file["path"]])

    def _info(self):
        return {"id": self.hub.repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.hub.files]}

    def _tree(self):
        return [
            {"type": "file", "path": name, "size": self.hub.sizes.get(name, len(data)), "oid": _etag(data)}
            for name, data in self.hub.files.items()
        ]

    def _refs(self):
        branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": COMMIT}
        tag = {"name": "v1", "ref": "refs/tags/v1", "targetCommit": COMMIT}
        return {"branches": [branch], "tags": [tag], "converts": []}

    def _file(self, data):
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_etag(data)}"', "Accept-Ranges": "bytes"}
        if self.hub.cuts and self.command == "GET" and len(data) > 1000:
            self.hub.cuts -= 1
            self.close_connection = True
            self._send(200, headers, data, n_sent=len(data) // 2)
            return
        begin = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if begin:
            first = int(begin[1])
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
            self._send(206, headers, data[first:])
        else:
            self._send(200, headers, data)

    def _json(self, content):
        self._send(200, {"Content-Type": "application/json"}, json.dumps(content).encode())

    def _send(self, status, headers, body=b"", n_sent=None):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[:n_sent])


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def serve(hub: Hub):
    """The hub at ``hub.url`` until the block ends; after that nobody answers there."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
