"""HTTP for a `Hub`: requests read whole, routed, struck by faults, answered."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from loopback import reading, writing
from loopback.calls import Call, Content, Refused
from loopback.hub import BAD_TOKEN, NO_REPOSITORY, Answer, Fault, Hub, Request

_REPO = r"(?P<kind>model|dataset|space)s/(?P<repo>[^/]+/[^/]+)"
_PAGE = r"(?:(?P<kind>dataset|space)s/)?(?P<repo>[^/]+/[^/]+?)"
_OBJECT = r"/objects/(?P<kind>model|dataset|space)/(?P<repo>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})"
_AT = r"(?P<revision>[^/]+)"


@dataclass(frozen=True)
class _Route:
    methods: str
    path: re.Pattern[str]
    endpoint: str
    answer: Callable[[Call], Any]


def _route(methods: str, path: str, endpoint: str, answer: Callable[[Call], Any]) -> _Route:
    return _Route(methods, re.compile(path), endpoint, answer)


_ROUTES = [
    _route("GET", "/api/whoami-v2", "whoami", reading.whoami),
    _route("POST", "/api/repos/create", "create", writing.create),
    _route("POST", "/api/validate-yaml", "validate-yaml", writing.validate_yaml),
    _route("GET", f"/api/{_REPO}(?:/revision/{_AT})?", "info", reading.info),
    _route("GET", f"/api/{_REPO}/tree/{_AT}(?:/(?P<path>.+))?", "tree", reading.tree),
    _route("GET", f"/api/{_REPO}/refs", "refs", reading.refs),
    _route("GET", f"/api/{_REPO}/commits/{_AT}", "commits", reading.commits),
    _route("POST", f"/api/{_REPO}/paths-info/{_AT}", "paths-info", reading.paths_info),
    _route("POST", f"/api/{_REPO}/preupload/{_AT}", "preupload", writing.preupload),
    _route("POST", f"/api/{_REPO}/commit/{_AT}", "commit", writing.commit),
    _route("GET", f"/api/{_REPO}/discussions", "discussions", reading.discussions),
    _route("GET", rf"/api/{_REPO}/discussions/(?P<number>\d+)", "discussion", reading.discussion),
    _route("POST", rf"/api/{_REPO}/discussions/(?P<number>\d+)/comment", "comment", writing.comment),
    _route("POST", rf"/{_PAGE}\.git/info/lfs/objects/batch", "lfs-batch", writing.lfs_batch),
    _route("PUT", _OBJECT, "lfs-put", writing.lfs_put),
    _route("POST", _OBJECT + "/verify", "lfs-verify", writing.lfs_verify),
    _route("HEAD GET", _OBJECT, "lfs-get", reading.lfs_get),
    _route("HEAD GET", rf"/{_PAGE}/resolve/{_AT}/(?P<path>.+)", "resolve", reading.resolve),
]


class _Cut(Exception):
    """The connection ends here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args):
        pass

    def do_GET(self):
        try:
            with suppress(ConnectionError):  # the client has gone
                self._answer()
        except _Cut:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self):
        parts = urlsplit(self.path)
        route, match = self._match(parts.path)
        endpoint = route.endpoint if route else "unknown"
        size = int(self.headers.get("Content-Length") or 0)
        fault = self._fault(endpoint)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        asked = self.headers.get("Range")
        self.hub.requests.append(Request(self.command, unquote(parts.path), endpoint, token, asked, size))
        body = self._body(size, fault)
        if fault and fault.answer:
            self._refuse(fault.answer)
            return
        names = {name: unquote(value) for name, value in match.groupdict().items() if value} if match else {}
        call = Call(self.hub, names, parse_qs(parts.query), self.headers, body, token)
        try:
            if route is None:
                raise Refused(NO_REPOSITORY)
            if token is not None and token not in self.hub.tokens:
                raise Refused(BAD_TOKEN)
            with self.hub.lock:
                answer = route.answer(call)
        except Refused as refused:
            self._refuse(refused.answer, **refused.more)
            return
        if fault and fault.lost:
            raise _Cut
        if isinstance(answer, Content):
            self._content(answer, fault)
        else:
            self._send(200, {"Content-Type": "application/json", **call.answered}, json.dumps(answer).encode())

    def _match(self, path: str) -> tuple[_Route | None, re.Match[str] | None]:
        for route in _ROUTES:
            if self.command in route.methods.split() and (match := route.path.fullmatch(path)):
                return route, match
        return None, None

    def _fault(self, endpoint: str) -> Fault | None:
        with self.hub.lock:
            fault = next((one for one in self.hub.faults if one.strikes(endpoint, self.command)), None)
        if fault:
            time.sleep(fault.seconds)
        return fault

    def _body(self, size: int, fault: Fault | None) -> bytes:
        assert "Transfer-Encoding" not in self.headers, "the client says the length of what it sends"
        if fault and fault.cut is not None and self.command in ("POST", "PUT"):
            self.rfile.read(min(size, fault.cut))
            raise _Cut
        return self.rfile.read(size)

    def _refuse(self, answer: Answer, **more: str) -> None:
        status, headers = answer
        said = json.dumps({"error": headers.get("X-Error-Message", "out of order"), **more}).encode()
        self._send(status, {"Content-Type": "application/json", **headers}, said)

    def _content(self, content: Content, fault: Fault | None) -> None:
        headers, data = dict(content.headers), content.data
        first = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        status = content.status
        if first and status == 200:
            start = int(first[1])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            status, data = 206, data[start:]
        cut = fault.cut if fault else None
        self._send(status, {"Accept-Ranges": "bytes", **headers}, data, cut)

    def _send(self, status: int, headers: dict[str, str], body: bytes, cut: int | None = None) -> None:
        self.send_response(status)
        own = {"Content-Length": str(len(body)), "X-Request-Id": f"loopback-{len(self.hub.requests)}"}
        for name, value in {**headers, **own}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.wfile.flush()
            raise _Cut


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """The hub at ``hub.url`` until the block ends; after that nobody answers there."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url, hub.storage = (f"http://{host}:{server.server_port}" for host in ("127.0.0.1", "localhost"))
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
