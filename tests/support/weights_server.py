"""A server on loopback that stands for Hugging Face's hub and for servers of archives."""

import collections
import contextlib
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator, Mapping

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class WeightsServer(http.server.ThreadingHTTPServer):
    """Serves `files` by path, and each `owner/name` in `repositories` as the hub does.

    Attributes:
      files: path -> content.
      repositories: owner/name -> file -> content, in each commit; `main` is `COMMIT`.
      headers: more headers of each file of `files`.
      cut: file -> how many answers to break off in the middle.
      damaged: names of files, of which a byte is changed on the way.
      ranges: file -> the headers `Range` of all requests for its content.
      queries: the queries of all requests.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reset()

    def reset(self) -> None:
        """Forgets all files and what was asked for."""
        self.files: dict[str, bytes] = {}
        self.repositories: dict[str, Mapping[str, bytes]] = {}
        self.headers: dict[str, str] = {}
        self.cut: dict[str, int] = {}
        self.damaged: set[str] = set()
        self.ranges: dict[str, list[str | None]] = collections.defaultdict(list)
        self.queries: list[str] = []

    def handle_error(self, request, client_address):
        """Says nothing of clients that hang up."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def weights_server() -> Iterator[WeightsServer]:
    with WeightsServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.shutdown()


def _is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".model"))


def _digest(name: str, content: bytes) -> str:
    """The ETag of a file: large ones have a sha256, others git's digest."""
    if _is_large(name):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: WeightsServer

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self._answer(is_head=True)

    def do_GET(self):
        self._answer(is_head=False)

    def _answer(self, is_head: bool) -> None:
        path, _, query = self.path.partition("?")
        self.server.queries.append(query)
        if path in self.server.files:
            content = self.server.files[path]
            etag = {"ETag": f'"{hashlib.md5(content).hexdigest()}"'}
            self._send(path, content, etag | self.server.headers, is_head)
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            self._tell(*found.groups())
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            repository, commit, name = found.groups()
            content = self.server.repositories[repository][name]
            headers = {"ETag": f'"{_digest(name, content)}"', "X-Repo-Commit": commit}
            self._send(name, content, headers, is_head)
        else:
            self.send_error(404)

    def _tell(self, repository: str, kind: str | None, revision: str | None) -> None:
        files = self.server.repositories.get(repository)
        commit = COMMIT if revision in (None, "main") else revision
        if files is None or len(commit) != len(COMMIT):
            code = "RepoNotFound" if files is None else "RevisionNotFound"
            return self._send("", b"", {"X-Error-Code": code}, False, status=404)
        told = {"id": repository, "sha": commit}
        tree = [
            {"type": "file", "path": name, "size": len(content), "oid": _digest(name, content)}
            for name, content in files.items()
        ]
        answer = json.dumps(tree if kind == "tree" else told).encode()
        return self._send("", answer, {"Content-Type": "application/json"}, False)

    def _send(
        self, name: str, content: bytes, headers: Mapping[str, str], is_head: bool, status: int = 200
    ) -> None:
        wanted = self.headers.get("Range")
        if name and not is_head:
            self.server.ranges[name].append(wanted)
        if name in self.server.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        if begin and self.headers.get("If-Range", headers.get("ETag")) != headers.get("ETag"):
            begin = 0
        if begin >= len(content) > 0:
            return self.send_error(416)
        self.send_response(206 if begin else status)
        for key, value in {**headers, "Content-Length": str(len(content) - begin)}.items():
            self.send_header(key, value)
        self.end_headers()
        if is_head:
            return None
        if self.server.cut.get(name):
            self.server.cut[name] -= 1
            content = content[: (begin + len(content)) // 2]
            self.close_connection = True
        self.wfile.write(content[begin:])
        return None
