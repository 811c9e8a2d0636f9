"""Stores that tests talk to: a folder over HTTP with range requests, and what lies between here and a store."""

import html
import http
import re
import select
import socket
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Site:
    """A folder that is served, how, and what goes wrong next."""

    folder: Path
    ranges: bool = True
    refuse: int = 0
    """A status for everything; 0: none."""
    faults: list[int | str] = field(default_factory=list)
    """For the next answers: a status, or minus the bytes after which the connection is cut; or what is wrong with the
    body: flip (a bit), short (a byte less, and the header says so)."""
    always: int = 0
    answers: int = 0
    bodies: Counter[str] = field(default_factory=Counter)
    """How often each path was sent, or parts of it."""
    delay_s: float = 0
    """Before every body."""
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_PUT(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        site = self.site
        site.answers += 1
        fault = (site.faults.pop(0) if site.faults else site.always) if body else 0
        spoils, fault = (fault, 0) if isinstance(fault, str) else ("", fault)
        path = site.folder / urllib.parse.unquote(self.path.partition("?")[0]).lstrip("/")
        status = site.refuse or max(0, fault) or (0 if path.exists() else 404)
        if status:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = listing(path).encode() if path.is_dir() else path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if site.ranges else None
        if asked and int(asked[1]) >= len(data):
            self.send_error(http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Type", "text/html" if path.is_dir() else "application/octet-stream")
        if asked:
            start, end = int(asked[1]), min(len(data), int(asked[2] or len(data)) + 1)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
            data = data[start:end]
        data = spoilt(data, spoils)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            site.bodies[self.path] += 1
            time.sleep(site.delay_s)
            self.wfile.write(data[: -fault if fault < 0 else None])
            if fault < 0:
                self.close_connection = True


def spoilt(data: bytes, how: str) -> bytes:
    if how == "flip":
        return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    return data[:-1] if how == "short" else data


def listing(folder: Path) -> str:
    """As servers list their folders: links that sort the list, a link up, folders with a slash."""
    names = [f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir()]
    links = "".join(f'<a href="{urllib.parse.quote(name)}">{html.escape(name)}</a><br>' for name in names)
    return f'<a href="?C=N;O=D">Name</a> <a href="../">up</a> <a href="https://elsewhere.invalid/x.jpg">ad</a>{links}'


@contextmanager
def served(folder: Path) -> Iterator[Site]:
    site = Site(folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"site": site})) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that has hung up
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()


@dataclass
class Cuts:
    """How many connections to a server behind are cut yet, after how many bytes of answers."""

    left: int
    after: int
    url: str = ""
    made: int = 0


@contextmanager
def cutting_proxy(port: int, left: int, after: int) -> Iterator[Cuts]:
    """A relay to a server on this machine that drops connections in the middle of answers."""
    cuts = Cuts(left, after)
    door = socket.create_server(("127.0.0.1", 0))
    cuts.url = f"http://127.0.0.1:{door.getsockname()[1]}"

    def relay(client: socket.socket, server: socket.socket) -> None:
        passed = 0
        with client, server, suppress(OSError):
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    passed += len(data) if source is server else 0
                    if source is server and passed > cuts.after and cuts.left:
                        cuts.left -= 1
                        cuts.made += 1
                        client.sendall(data[: len(data) // 2])
                        return
                    (client if source is server else server).sendall(data)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = door.accept()
                server = socket.create_connection(("127.0.0.1", port))
                threading.Thread(target=relay, args=(client, server), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield cuts
    door.close()
