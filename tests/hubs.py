"""A stand-in for the Hugging Face hub on loopback: the same addresses, headers and troubles, tiny files."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub
import huggingface_hub.constants as constants
import pytest

LARGE = (".safetensors", ".bin", ".npz")
PAGE = 3


@dataclass
class StandIn:
    """What the hub holds, `{repository: {revision: {path: bytes}}}`, what it was asked, and what goes wrong.

    `troubles` maps a pattern over "METHOD /path" to what the next matching answers are: "busy" (429, come
    back after `patience` seconds), "down" (503), "silent" (no answer before the end), "cut" (the connection
    ends half-way), "short" (fewer bytes than listed), "wrong" (other bytes) or "fine".
    """

    repositories: dict[str, dict[str, dict[str, bytes]]]
    tags: dict[str, str] = field(default_factory=dict)
    troubles: dict[str, list[str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""
    patience: str = "1"
    ended: threading.Event = field(default_factory=threading.Event)

    def trouble(self, request: str) -> str:
        for pattern, waiting in self.troubles.items():
            if waiting and re.search(pattern, request):
                return waiting.pop(0)
        return "fine"

    def asked(self, pattern: str) -> int:
        """Return how many requests matched."""
        return sum(re.search(pattern, request) is not None for request in self.requests)


def commit_of(files: dict[str, bytes]) -> str:
    return hashlib.sha1(b"".join(name.encode() + b"\0" + files[name] for name in sorted(files))).hexdigest()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def listed(path: str, content: bytes) -> dict:
    entry = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
    if path.endswith(LARGE):
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
    return entry


@contextmanager
def running(hub: StandIn) -> Iterator[StandIn]:
    """Serve `hub` until the end; its storage answers on another host name, as the real one's does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def as_the_hub(hub: StandIn, home: Path, patch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """Let `huggingface_hub` take `hub` for the hub, with its cache in `home`."""
    with running(hub):
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        patch.setattr(constants, "HF_HOME", str(home))
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "ENDPOINT", hub.url)
        resolve = "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + resolve)
        yield hub
    huggingface_hub.close_session()


def _handler(hub: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format, *args):
            del format, args

        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            self.answer()

        def answer(self):
            address = urlsplit(self.path)
            path, query = address.path, parse_qs(address.query)
            request = f"{self.command} {unquote(path)}"
            hub.requests.append(request + (" ranged" if "Range" in self.headers else ""))
            trouble = hub.trouble(request)
            if trouble == "busy":
                return self.send(429, b"", {"Retry-After": hub.patience})
            if trouble == "silent":
                hub.ended.wait()
                return None
            if trouble == "down":
                return self.send(503, b"")
            if match := re.fullmatch(r"/api/models/(.+?)/(refs|revision|tree)(?:/([^/]+))?", path):
                return self.tell(match[1], match[2], match[3] and unquote(match[3]), query)
            if match := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
                return self.resolve(match[1], unquote(match[2]), unquote(match[3]), trouble)
            if match := re.fullmatch(r"/storage/(.+?)/([0-9a-f]{40})/(.+)", path):
                return self.give((hub_files(match[1], match[2]) or {})[unquote(match[3])], trouble, {})
            return self.send(404, b"")

        def tell(self, repository, what, revision, query):
            if repository not in hub.repositories:
                return self.missing("RepoNotFound")
            if what == "refs":
                branches = [
                    {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit_of(files)}
                    for name, files in hub.repositories[repository].items()
                ]
                tags = [
                    {"name": name, "ref": f"refs/tags/{name}", "targetCommit": commit}
                    for name, commit in hub.tags.items()
                ]
                return self.send_json({"branches": branches, "tags": tags, "converts": []})
            files = hub_files(repository, revision)
            if files is None:
                return self.missing("RevisionNotFound")
            if what == "revision":
                return self.send_json(
                    {
                        "id": repository,
                        "sha": commit_of(files),
                        "siblings": [{"rfilename": name} for name in files],
                    }
                )
            start = int(query.get("cursor", ["0"])[0])
            entries = [listed(name, content) for name, content in sorted(files.items())]
            headers = {}
            if start + PAGE < len(entries):
                following = (
                    f"{hub.url}/api/models/{repository}/tree/{revision}?recursive=true&cursor={start + PAGE}"
                )
                headers["Link"] = f'<{following}>; rel="next"'
            return self.send_json(entries[start : start + PAGE], headers)

        def resolve(self, repository, revision, path, trouble):
            files = hub_files(repository, revision)
            if files is None:
                return self.missing("RevisionNotFound")
            if path not in files:
                return self.missing("EntryNotFound")
            entry, commit = listed(path, files[path]), commit_of(files)
            headers = {"X-Repo-Commit": commit}
            if "lfs" not in entry:
                return self.give(files[path], trouble, headers | {"ETag": f'"{entry["oid"]}"'})
            storage = f"http://localhost:{hub.url.rsplit(':', 1)[1]}/storage/{repository}/{commit}/{path}"
            headers |= {
                "Location": storage,
                "X-Linked-ETag": f'"{entry["lfs"]["oid"]}"',
                "X-Linked-Size": str(entry["size"]),
            }
            return self.send(302, b"", headers)

        def give(self, content, trouble, headers):
            start = 0
            if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
                start = int(match[1])
                headers = headers | {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            status = 206 if start else 200
            if trouble == "short":
                return self.send(status, content[start : len(content) // 2], headers)
            if trouble == "wrong":
                return self.send(status, bytes(len(content) - start), headers)
            if trouble == "cut":
                self.close_connection = True
                self.send_headers(status, len(content) - start, headers)
                self.wfile.write(content[start : start + (len(content) - start) // 2])
                return None
            return self.send(status, content[start:], headers)

        def missing(self, code):
            return self.send(404, b"", {"X-Error-Code": code})

        def send_json(self, value, headers=None):
            return self.send(200, json.dumps(value).encode(), headers)

        def send(self, status, content, headers=None):
            self.send_headers(status, len(content), headers or {})
            if self.command != "HEAD":
                self.wfile.write(content)

        def send_headers(self, status, length, headers):
            self.send_response(status)
            for name, value in {"Content-Length": str(length), **headers}.items():
                self.send_header(name, value)
            self.end_headers()

    def hub_files(repository, revision) -> dict[str, bytes] | None:
        revisions = hub.repositories.get(repository, {})
        if revision in revisions:
            return revisions[revision]
        revision = hub.tags.get(revision, revision)
        return next((files for files in revisions.values() if commit_of(files) == revision), None)

    return Handler
