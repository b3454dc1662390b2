"""Servers on this machine, in the place of those on the network."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


def free_port() -> int:
    """A port of this machine that nothing listens at."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class SilentHandler(BaseHTTPRequestHandler):
    """Answers requests without a line of log for each; what a class of it sends is its ``do_GET``."""

    def do_GET(self) -> None:
        """Answer a request."""
        raise NotImplementedError

    def do_HEAD(self) -> None:
        """Answer as to GET; the handler leaves the body away."""
        self.do_GET()

    def refuse(self, code: str, status: int) -> None:
        """Say as the hub does why a repository is not handed out."""
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address at which ``handler`` answers meanwhile."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
