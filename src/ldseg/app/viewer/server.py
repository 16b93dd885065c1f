"""The viewer's server: on the loopback address only, and only for clients that know the secret token.

Each request is checked for three things. Its Host is this server's own address, which rejects other names
that resolve here (DNS rebinding). Its path begins with the token, 32 random bytes. The rest is one of the
names below: no file path is ever built from a request.

    GET  cases                      names of all cases
    POST N/open                     begin to open case N, counted from 0
    GET  N/state                    the case; or that it is being opened, or what is wrong with it
    GET  N/layers/LAYER.nii         voxels
    GET  N/surfaces/LAYER/K.mz3     surface of class K of a label map
    GET  N/values/A/B/C             values of all layers at a voxel (A/B in 2D)
    POST N/samples                  draw more samples
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, cast

from ldseg.app.viewer.case_list import CaseList
from ldseg.app.viewer.nifti import downsampling_steps, to_nifti
from ldseg.app.viewer.readout import values_at
from ldseg.app.viewer.session import Session
from ldseg.app.viewer.state import describe
from ldseg.app.viewer.surfaces import surface
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
    "elements.js": ("page/elements.js", _SCRIPT),
    "facts.js": ("page/facts.js", _SCRIPT),
    "surfaces.js": ("page/surfaces.js", _SCRIPT),
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
_CASE = re.compile(r"(0|[1-9]\d{0,8})/(.+)")
_LAYER = re.compile(r"layers/([a-z0-9-]+)\.nii")
_SURFACE = re.compile(r"surfaces/([a-z0-9-]+)/([1-9]\d{0,4})\.mz3")
_VALUES = re.compile(r"values((?:/\d{1,9}){2,3})")


class ViewerServer(ThreadingHTTPServer):
    """HTTP server of the cases of one viewer."""

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # elsewhere it would let two programs have one port

    cases: CaseList

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

    def show(self, cases: CaseList) -> None:
        """Answer requests until the server is shut down or interrupted."""
        self.cases = cases
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
        """Send the page, its files, the names of the cases, or what is asked of one of them."""
        name = self._admitted()
        if name is None:
            return
        if name in FILES:
            path, kind = FILES[name]
            self._send(files("ldseg.app.viewer").joinpath(path).read_bytes(), kind)
        elif name == "cases":
            self._send_json(list(self._viewer.cases.names))
        else:
            number, rest = self._case(name)
            session = None if number is None else self._viewer.cases.find(number)
            if number is not None and session is None and rest == "state":
                problem = self._viewer.cases.problem(number)
                self._send_json({"opening": not problem, "problem": problem})
            elif session is None or not self._send_of(session, rest):
                self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Start to open a case or to sample more."""
        name = self._admitted()
        if name is None:
            return
        number, rest = self._case(name)
        session = None if number is None else self._viewer.cases.find(number)
        if number is not None and rest == "open":
            self._viewer.cases.open(number)
            self._send_json({}, HTTPStatus.ACCEPTED)
        elif session is None or rest != "samples":
            self.send_error(HTTPStatus.NOT_FOUND)
        elif session.draw_more():
            self._send_json({}, HTTPStatus.ACCEPTED)
        else:
            self.send_error(HTTPStatus.CONFLICT)

    def _case(self, name: str) -> tuple[int | None, str]:
        """Return the number of the case that a path begins with and the rest; None for no case of these."""
        match = _CASE.fullmatch(name)
        if match is None or int(match[1]) >= len(self._viewer.cases.names):
            return None, ""
        return int(match[1]), match[2]

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

    def _send_of(self, session: Session, name: str) -> bool:
        """Send what is asked of a session; return False if there is no such thing."""
        if name == "state":
            self._send_json(describe(session))
            return True
        if match := _LAYER.fullmatch(name):
            layer, image = session.layers.get(match[1]), session.image
            if layer is None:
                return False
            steps = downsampling_steps(image.shape, image.axes)
            self._send(to_nifti(layer.array, image, steps, layer.group == "reference"), _VOXELS)
            return True
        if match := _SURFACE.fullmatch(name):
            layer, structures = session.layers.get(match[1]), len(session.plan.classes) - 1
            labelled = layer is not None and layer.colors in ("classes", "reference")
            if layer is None or not labelled or int(match[2]) > structures or session.image.axes != "zyx":
                return False
            self._send(surface(layer.array, int(match[2]), session.image) or b"", _VOXELS)
            return True
        match = _VALUES.fullmatch(name)
        values = None if match is None else values_at(session, [int(n) for n in match[1][1:].split("/")])
        if values is not None:
            self._send_json(values)
        return values is not None

    def _send_json(self, content: object, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(content).encode(), _JSON, status)

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
