"""A live view of a workspace on the loopback address: the overview and every run's report, as they are now.

In: a workspace, a port. Out: a server that answers GET on 127.0.0.1 only. It writes nothing: pages are made for the
answer, artifacts are sent as they are. A path that leaves the runs' folders, a link or another host's name is refused.
"""

from __future__ import annotations

import mimetypes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from seatrial.core.errors import SeatrialError, UsageError
from seatrial.evidence import Run, Workspace
from seatrial.report.compose import compose
from seatrial.report.gather import gather
from seatrial.report.html import html_of
from seatrial.report.workspace_page import read_all, workspace_html

HOST = "127.0.0.1"
REFRESH_S = 5
# Kept evidence is shown as text: nothing that came from a log or an engine is ever run by the browser.
BYTES = "application/octet-stream"
PLAIN = {".log", ".txt", ".json", ".jsonl", ".md", ".sh", ".html", ".xml", ".svg", ""}


def live(workspace: Workspace, port: int) -> ThreadingHTTPServer:
    """A server that is ready to `serve_forever`; port 0 takes a free one. Raises UsageError if the port is taken."""

    class Handler(_Handler):
        place = workspace

    try:
        server = ThreadingHTTPServer((HOST, port), Handler)
    except OSError as exc:
        raise UsageError(f"port {port} cannot be used: {exc.strerror}", mend="Name another one with --port.") from exc
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    place: Workspace

    def do_GET(self) -> None:
        # A page of another site cannot read this one through a name that it points at us.
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        if host not in (HOST, "localhost"):
            self._send(403, "text/plain; charset=utf-8", b"this address is not served here\n")
            return
        parts = [unquote(p) for p in urlsplit(self.path).path.split("/") if p]
        try:
            self._answer(parts)
        except SeatrialError as exc:
            self._send(404, "text/plain; charset=utf-8", f"{exc.one_line()}\n".encode())
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except (ValueError, OSError):
            # A name that no file can have (a NUL character, a thousand letters), or one that went away meanwhile.
            self._send(404, "text/plain; charset=utf-8", b"there is no such file\n")

    def _answer(self, parts: list[str]) -> None:
        if parts in ([], ["overview.html"]):
            runs = read_all(self.place)
            title = self.place.root.parent.name or "workspace"
            self._html(workspace_html(runs, title=title, refresh_s=REFRESH_S))
            return
        if len(parts) >= 3 and parts[0] == "runs":
            folder = self.place.runs_folder / parts[1]
            if folder in self.place.run_folders():
                if parts[2:] == ["report.html"]:
                    self._html(html_of(compose(gather(Run.read(folder)))))
                    return
                self._file(folder, parts[2:])
                return
        raise UsageError(f"there is no page {'/'.join(parts)!r}")

    def _file(self, folder: Path, parts: list[str]) -> None:
        allowed = parts in (["records.jsonl"], ["manifest.json"], ["report.md"]) or (
            len(parts) == 2 and parts[0] == "artifacts" and not parts[1].startswith(".")
        )
        path = folder.joinpath(*parts) if allowed and not {"..", "."} & set(parts) else folder
        if path.resolve() != folder.resolve().joinpath(*path.relative_to(folder).parts) or not path.is_file():
            raise UsageError(f"there is no file {'/'.join(parts)!r}")
        guessed = mimetypes.guess_type(path.name)[0] or BYTES
        is_picture = guessed.startswith("image/") and "svg" not in guessed
        kind = "text/plain; charset=utf-8" if path.suffix in PLAIN else guessed if is_picture else BYTES
        self.send_response(200)
        self._headers(kind, path.stat().st_size)
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 16):
                self.wfile.write(chunk)

    def _html(self, text: str) -> None:
        self._send(200, "text/html; charset=utf-8", text.encode("utf-8", errors="backslashreplace"))

    def _send(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self._headers(kind, len(data))
        self.wfile.write(data)

    def _headers(self, kind: str, size: int) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Requests are nobody's business."""
