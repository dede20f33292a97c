"""A Hub of one repository on this machine, as far as huggingface_hub asks one: a list of files, and the files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit


@contextmanager
def small_hub(repository: str, folder: Path, commit: str) -> Iterator[tuple[str, list[str]]]:
    """Its address, and a list that grows with every file that is fetched. Other repositories are not there."""
    fetched: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
            if path.startswith(f"api/models/{repository}/tree/"):
                tree = [
                    {"type": "file", "path": n, "size": (folder / n).stat().st_size, "oid": "0" * 40} for n in names
                ]
                self._send(json.dumps(tree).encode(), {})
            elif path in (f"api/models/{repository}", f"api/models/{repository}/revision/main"):
                told = {"id": repository, "sha": commit, "siblings": [{"rfilename": n} for n in names]}
                self._send(json.dumps(told).encode(), {})
            elif path.startswith(f"{repository}/resolve/") and path.split("/", 4)[4] in names:
                name = path.split("/", 4)[4]
                if self.command == "GET":
                    fetched.append(name)
                self._send((folder / name).read_bytes(), {"ETag": f'"{name}"', "X-Repo-Commit": commit})
            else:
                self._send(b"{}", {"X-Error-Code": "RepoNotFound"}, 404)

        def _send(self, body: bytes, headers: dict[str, str], status: int = 200) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", fetched
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
