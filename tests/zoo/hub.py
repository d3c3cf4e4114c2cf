"""A local server that answers what huggingface_hub asks the hub, for one user."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

NAME = r"(?P<name>[\w.-]+/[\w.-]+)"


class LocalHub:
    """Repositories in memory: ``repositories[name][revision][path]`` is a file's content."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.requests: list[str] = []
        """Method and path of each request."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                path = unquote(self.path.partition("?")[0])
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hub.requests.append(f"{self.command} {path}")
                for pattern, answer in ROUTES.items():
                    if found := re.fullmatch(pattern, f"{self.command} {path}"):
                        status, content, headers = answer(hub, body=body, **found.groupdict())
                        break
                else:
                    status, content, headers = 404, b"{}", {}
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_POST = answer

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()

    def file(self, name, revision, path, **_):
        if name not in self.repositories:
            return 404, b"", {"X-Error-Code": "RepoNotFound"}
        if revision not in self.repositories[name]:
            return 404, b"", {"X-Error-Code": "RevisionNotFound"}
        content = self.repositories[name][revision].get(path)
        if content is None:
            return 404, b"", {"X-Error-Code": "EntryNotFound"}
        commit = hashlib.sha1(revision.encode()).hexdigest()
        etag = hashlib.sha256(content).hexdigest()
        return 200, content, {"X-Repo-Commit": commit, "ETag": f'"{etag}"'}

    def create(self, body, **_):
        asked = json.loads(body)
        name = "/".join(filter(None, (asked.get("organization") or "", asked["name"])))
        exists = name in self.repositories
        self.repositories.setdefault(name, {"main": {}})
        url = f"{self.url}/{name}"
        return 409 if exists else 200, json.dumps({"url": url, "name": name}).encode(), {}

    def preupload(self, body, **_):
        files = [
            {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
            for file in json.loads(body)["files"]
        ]
        return 200, json.dumps({"files": files}).encode(), {}

    def commit(self, name, revision, body, **_):
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                content = base64.b64decode(entry["value"]["content"])
                self.repositories[name][revision][entry["value"]["path"]] = content
        answer = {"commitUrl": f"{self.url}/{name}/commit/1", "commitOid": "1" * 40}
        return 200, json.dumps({**answer, "success": True}).encode(), {}

    def info(self, name, **_):
        if name not in self.repositories:
            return 404, b"{}", {"X-Error-Code": "RepoNotFound"}
        siblings = [{"rfilename": path} for path in self.repositories[name]["main"]]
        found = {"id": name, "sha": "1" * 40, "private": False, "tags": [], "siblings": siblings}
        return 200, json.dumps(found).encode(), {}

    def fine(self, **_):
        return 200, b'{"errors": [], "warnings": []}', {}


ROUTES = {
    rf"(GET|HEAD) /{NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)": LocalHub.file,
    r"POST /api/repos/create": LocalHub.create,
    r"POST /api/validate-yaml": LocalHub.fine,
    rf"POST /api/models/{NAME}/preupload/(?P<revision>[^/]+)": LocalHub.preupload,
    rf"POST /api/models/{NAME}/commit/(?P<revision>[^/]+)": LocalHub.commit,
    rf"GET /api/models/{NAME}(/revision/[^/]+)?": LocalHub.info,
}
"""What the client may ask, and who answers."""
