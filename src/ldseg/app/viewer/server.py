"""The viewer's server: on the loopback address only, and only for clients that know the secret token.

Each request is checked for three things. Its Host is this server's own address, which rejects other names
that resolve here (DNS rebinding). Its path begins with the token, 32 random bytes. The rest is one of the
names below: no file path is ever built from a request.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, cast

from ldseg.app.viewer.nifti import downsampling_steps, to_nifti
from ldseg.app.viewer.session import Session
from ldseg.app.viewer.state import describe
from ldseg.errors import InputError

LOOPBACK = "127.0.0.1"
_HTML, _STYLE = "text/html; charset=utf-8", "text/css; charset=utf-8"
_SCRIPT, _JSON, _VOXELS = "text/javascript; charset=utf-8", "application/json", "application/octet-stream"
FILES = {
    "": ("page/index.html", _HTML),
    "page.css": ("page/page.css", _STYLE),
    "main.js": ("page/main.js", _SCRIPT),
    "panel.js": ("page/panel.js", _SCRIPT),
    "scene.js": ("page/scene.js", _SCRIPT),
    "server.js": ("page/server.js", _SCRIPT),
    "niivue.js": ("niivue/niivue.js", _SCRIPT),
}
"""Path after the token to the file in this package and its content type."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_LAYER, _ENDING = "layers/", ".nii"


class ViewerServer(ThreadingHTTPServer):
    """HTTP server of one session."""

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # elsewhere it would let two programs have one port

    session: Session

    def __init__(self, port: int = 0) -> None:
        """Bind `port`, or a free one; requests are answered only after `show`.

        Raises:
            InputError: the port is taken or unavailable.
        """
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"port {port} cannot be used ({reason}); choose another with --port, or leave it out"
            ) from error
        self.token = secrets.token_urlsafe(32)

    @property
    def address(self) -> str:
        """URL of the page, with the token."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"

    def show(self, session: Session) -> None:
        """Answer requests until the server is shut down or interrupted."""
        self.session = session
        self.serve_forever(poll_interval=0.1)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that the browser closed while the page loaded."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Handler of one request."""

    server_version, sys_version = "ldseg", ""
    timeout = 60
    """Seconds until an idle connection is closed."""

    @property
    def _viewer(self) -> ViewerServer:
        return cast(ViewerServer, self.server)

    def do_GET(self) -> None:
        """Send the page, its files, the state or a layer."""
        name = self._admitted()
        if name is None:
            return
        if name in FILES:
            path, kind = FILES[name]
            self._send(files("ldseg.app.viewer").joinpath(path).read_bytes(), kind)
        elif name == "state":
            self._send(json.dumps(describe(self._viewer.session)).encode(), _JSON)
        elif name.startswith(_LAYER) and name.endswith(_ENDING):
            self._send_layer(name[len(_LAYER) : -len(_ENDING)])
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Start sampling more."""
        name = self._admitted()
        if name is None:
            return
        if name != "samples":
            self.send_error(HTTPStatus.NOT_FOUND)
        elif self._viewer.session.draw_more():
            self._send(b"{}", _JSON, HTTPStatus.ACCEPTED)
        else:
            self.send_error(HTTPStatus.CONFLICT)

    def _admitted(self) -> str | None:
        """Return the path after the token, or send an error and return None if the request is not allowed."""
        own = {f"{host}:{self._viewer.server_port}" for host in (LOOPBACK, "localhost")}
        origin = self.headers.get("Origin")
        _, token, name = (*self.path.partition("?")[0].split("/", 2), "", "")[:3]
        known = secrets.compare_digest(token.encode(), self._viewer.token.encode())
        strange = origin is not None and origin.removeprefix("http://") not in own
        if self.headers.get("Host") not in own or strange or not known:
            self.send_error(HTTPStatus.FORBIDDEN)
            return None
        return name

    def _send_layer(self, name: str) -> None:
        session = self._viewer.session
        layer = session.layer(name)
        if layer is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        image = session.image
        self._send(to_nifti(layer.array, image, downsampling_steps(image.shape, image.axes)), _VOXELS)

    def _send(self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def end_headers(self) -> None:
        """Add the security headers to every response."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because URLs contain the token."""
