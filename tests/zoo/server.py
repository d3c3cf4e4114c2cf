"""A local HTTP server over real files that fails on demand."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class FaultyServer:
    """Serves a directory; each request takes the next fault from a list, later ones succeed.

    Faults: ``503``, ``404``; ``break`` (half of the requested bytes, then a closed connection),
    ``corrupt`` (one bit flipped), ``truncate`` (half a file, announced as the whole), ``lengthen``,
    ``other range`` (bytes that were not requested), ``no range`` (from the beginning).
    """

    def __init__(self, directory: Path) -> None:
        self.faults: list[str] = []
        self.requests: list[tuple[str, str | None, int]] = []
        """Path, Range header and number of bytes sent for each request."""
        server, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with lock:
                    fault = server.faults.pop(0) if server.faults else ""
                file = directory / self.path.lstrip("/")
                if fault in ("503", "404") or not file.is_file():
                    self._answer(int(fault or 404), b"")
                    return
                content = file.read_bytes()
                start = self._start()
                if fault == "no range":
                    start = 0
                elif fault == "other range":
                    start = start // 2
                if fault == "corrupt":
                    content = bytes([content[0] ^ 1]) + content[1:]
                elif fault == "truncate":
                    content = content[: len(content) // 2]
                elif fault == "lengthen":
                    content += b"more"
                if start > len(content):
                    self._answer(416, b"")
                    return
                self._answer(206 if start else 200, content, start, fault == "break")

            def _start(self) -> int:
                asked = self.headers.get("Range", "bytes=0-")
                return int(asked.removeprefix("bytes=").split("-")[0])

            def _answer(
                self, status: int, content: bytes, start: int = 0, breaks: bool = False
            ) -> None:
                body = content[start:]
                sent = body[: len(body) // 2] if breaks else body
                server.requests.append((self.path, self.headers.get("Range"), len(sent)))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if status == 206:
                    whole = len(content)
                    self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
                self.end_headers()
                self.wfile.write(sent)
                self.close_connection = breaks

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """Ignore errors: clients that close the connection are part of the tests."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
