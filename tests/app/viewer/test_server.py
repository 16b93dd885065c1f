"""Who is let in, and to what."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

import pytest

from ldseg.app.viewer.case_list import CaseList
from ldseg.app.viewer.server import FILES, ViewerServer
from ldseg.app.viewer.session import Session
from ldseg.errors import InputError

MakeSession = Callable[..., Session]
Serve = Callable[..., ViewerServer]
SampledPrediction = tuple[int, dict[str, str], bytes]


@pytest.fixture
def server(make_session: MakeSession, serve: Serve) -> ViewerServer:
    """Of a picture."""
    return serve(make_session())


def session_of(server: ViewerServer) -> Session:
    """Of its first case."""
    session = server.cases.find(0)
    assert session is not None
    return session


def ask(
    server: ViewerServer, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> SampledPrediction:
    """Status, headers and content; what is sent is neither escaped nor shortened."""
    lines = {"Host": f"127.0.0.1:{server.server_port}", **(headers or {})}
    request = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items()), "", ""]
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall("\r\n".join(request).encode())
        with connection.makefile("rb") as stream:
            head, _, content = stream.read().partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in rest), content


@pytest.mark.parametrize(
    "name", [*FILES, "cases", "0/state", "0/layers/image-1.nii", "0/layers/labels.nii", "0/values/0/0"]
)
def test_whoever_knows_the_token_is_let_in(server: ViewerServer, name: str) -> None:
    status, headers, content = ask(server, f"/{server.token}/{name}")
    assert status == 200
    assert len(content) == int(headers["Content-Length"]) > 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nobody_else_is_let_in(server: ViewerServer, method: str) -> None:
    longer, shorter = server.token + "x", server.token[:-1]
    for token in ("", longer, shorter, server.token.swapcase(), "é", "../" + server.token):
        for name in ("", "cases", "0/state", "0/samples", "0/open", "0/layers/labels.nii"):
            status, _, content = ask(server, f"/{token}/{name}", method)
            assert status == 403
            assert server.token.encode() not in content
    assert ask(server, "/")[0] == ask(server, f"/?{server.token}")[0] == 403


def test_every_server_has_a_token_of_its_own() -> None:
    with ViewerServer() as one, ViewerServer() as other:
        assert one.token != other.token
        assert len(one.token) >= 43
        assert one.server_port != other.server_port


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1.evil.example:{port}", "localhost:1", ""],
)
def test_a_name_that_was_led_here_is_turned_away(server: ViewerServer, host: str) -> None:
    """A page elsewhere whose name is made to mean 127.0.0.1 would else read what is shown here."""
    headers = {"Host": host.format(port=server.server_port)}
    assert ask(server, f"/{server.token}/0/state", headers=headers)[0] == 403


def test_both_names_of_this_machine_are_known(server: ViewerServer) -> None:
    for host in ("127.0.0.1", "localhost"):
        headers = {"Host": f"{host}:{server.server_port}"}
        assert ask(server, f"/{server.token}/0/state", headers=headers)[0] == 200


def test_other_pages_cannot_ask_for_samples(server: ViewerServer) -> None:
    path = f"/{server.token}/0/samples"
    assert ask(server, path, "POST", {"Origin": "http://evil.example"})[0] == 403
    assert ask(server, path, "POST", {"Origin": "null"})[0] == 403
    assert not session_of(server).busy
    assert (
        ask(server, path, "POST", {"Origin": server.address.split("/", 3)[2].join(("http://", ""))})[0] == 202
    )


def test_only_this_machine_is_listened_to(server: ViewerServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.address.startswith(f"http://127.0.0.1:{server.server_port}/")
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in {str(other) for other in others if not str(other).startswith("127.0.0.1")}:
        with socket.socket() as probe:
            probe.settimeout(2)
            assert probe.connect_ex((address, server.server_port)) != 0


@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        "server.py",
        "../server.py",
        "page/../../server.py",
        "..%2fserver.py",
        "%2e%2e/server.py",
        "..\\server.py",
        "/etc/passwd",
        "//etc/passwd",
        "page/index.html",
        "state",
        "0",
        "0/",
        "00/state",
        "-1/state",
        "1/state",
        "999999999999/state",
        "0/../0/state",
        "0/layers/",
        "0/layers/labels",
        "0/layers/nothing.nii",
        "0/layers/../state.nii",
        "0/layers/sample-0.nii",
        "0/layers/sample-4.nii",
        "0/layers/probability-0.nii",
        "0/surfaces/labels/1.mz3",
        "0/values/0",
        "0/values/20/0",
        "0/values/0/0/0",
        "0/values/-1/0",
        "0/state/",
        "0/State",
    ],
)
def test_what_has_no_name_here_is_not_found(server: ViewerServer, name: str) -> None:
    assert ask(server, f"/{server.token}/{name}")[0] == 404


def test_only_samples_and_cases_can_be_asked_for(server: ViewerServer) -> None:
    for name in ("", "cases", "0/state", "0/layers/labels.nii", "0/samples/", "1/open", "samples", "open"):
        assert ask(server, f"/{server.token}/{name}", "POST")[0] == 404
    assert ask(server, f"/{server.token}/0/samples")[0] == 404
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert ask(server, f"/{server.token}/0/samples", method)[0] == 501


def test_browsers_are_told_to_keep_to_this_server(server: ViewerServer) -> None:
    for path in (f"/{server.token}/", f"/{server.token}/0/state", f"/{server.token}/nothing", "/"):
        _, headers, _ = ask(server, path)
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert all("http" not in sources and "*" not in sources for sources in policy.values())
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in headers


def test_more_samples_are_drawn_behind_and_then_told(server: ViewerServer) -> None:
    path = f"/{server.token}/0/samples"
    assert ask(server, path, "POST")[0] == 202
    session_of(server).wait()
    state = json.loads(ask(server, f"/{server.token}/0/state")[2])
    assert (state["samples"], state["busy"], state["problem"]) == (7, False, "")
    assert ask(server, f"/{server.token}/0/layers/sample-7.nii")[0] == 200


def test_a_taken_port_is_said_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} cannot be used .*--port"):
            ViewerServer(port)


@pytest.mark.parametrize("port", [-1, 65536, 10**9])
def test_no_such_port(port: int) -> None:
    with pytest.raises(InputError, match="--port"):
        ViewerServer(port)


def test_nothing_is_said_of_requests(server: ViewerServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The address has the token; and a page that leaves while it loads is no fault."""
    ask(server, f"/{server.token}/")
    ask(server, f"/{server.token}/nothing")
    with socket.create_connection(("127.0.0.1", server.server_port)) as hasty:
        hasty.sendall(f"GET /{server.token}/niivue.js HTTP/1.1\r\nHost: 127.0.0.1".encode())
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_a_case_is_opened_when_it_is_asked_for(make_session: MakeSession, serve: Serve) -> None:
    server = serve(make_session(name="a"), make_session(name="b"))
    assert json.loads(ask(server, f"/{server.token}/cases")[2]) == ["a", "b"]
    state = f"/{server.token}/1/state"
    assert json.loads(ask(server, state)[2]) == {"opening": True, "problem": ""}
    assert ask(server, f"/{server.token}/1/layers/labels.nii")[0] == 404
    assert ask(server, f"/{server.token}/1/open", "POST")[0] == 202
    server.cases.wait()
    assert json.loads(ask(server, state)[2])["name"] == "b"


def test_a_case_that_cannot_be_opened_says_why(make_session: MakeSession) -> None:
    def broken(number: int, _: object) -> Session:
        if number:
            raise InputError("b.png: is damaged; save it again")
        return make_session()

    cases = CaseList(["a", "b"], broken)
    cases.open(1)
    cases.wait()
    assert cases.find(1) is None
    assert cases.problem(1) == "b.png: is damaged; save it again"


def test_values_at_a_voxel_are_told_with_names_and_units(make_session: MakeSession, serve: Serve) -> None:
    session = make_session(samples=2)
    session.prediction.layers["labels"].array[3, 4] = 1
    server = serve(session)
    told = json.loads(ask(server, f"/{server.token}/0/values/3/4")[2])
    values = {one["layer"]: one for one in told}
    assert values["labels"]["text"] == "left"
    assert values["image-1"]["values"] == [pytest.approx(float(session.image.array[0, 3, 4]))]
    assert values["uncertainty"]["unit"] == "nats"
    assert " %" in values["probability"]["text"]


def test_a_surface_is_a_file_of_triangles(make_session: MakeSession, serve: Serve) -> None:
    session = make_session("zyx")
    session.prediction.layers["labels"].array[:] = 0
    session.prediction.layers["labels"].array[2:6, 3:8, 4:9] = 1
    server = serve(session)
    content = ask(server, f"/{server.token}/0/surfaces/labels/1.mz3")[2]
    assert content[:4] == bytes([0x4D, 0x5A, 3, 0])
    assert ask(server, f"/{server.token}/0/surfaces/labels/2.mz3")[2] == b""
    for name in ("labels/0", "labels/3", "uncertainty/1", "image-1/1", "nothing/1"):
        assert ask(server, f"/{server.token}/0/surfaces/{name}.mz3")[0] == 404
