"""A real S3 server in a process of its own, on a port that is kept when it is started again."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import urllib.request

# Moto looks whether an object is there, and then puts it, in threads that may pass each other: one
# PUT at a time makes its conditional writes what they are in S3.
_PROGRAM = """
import contextlib, logging, sys, threading
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication, MotoRequestHandler, create_backend_app
)
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)
moto, turn = DomainDispatcherApplication(create_backend_app), threading.Lock()

def app(environ, start_response):
    with turn if environ["REQUEST_METHOD"] == "PUT" else contextlib.nullcontext():
        return moto(environ, start_response)

server = make_server("127.0.0.1", int(sys.argv[1]), app, True, request_handler=MotoRequestHandler)
print(server.port, flush=True)
server.serve_forever()
"""
BUCKET = "shared-truth"


class S3:
    """Moto's server. What it holds is in its memory: it can be paused, and goes when it ends."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, "0"], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.send("PUT", f"/{BUCKET}")

    def send(self, method: str, path: str, data: bytes | None = None) -> bytes:
        """One request without obstore."""
        request = urllib.request.Request(self.endpoint + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read()

    def environment(self) -> dict[str, str]:
        """What obstore has to be told."""
        return {
            "AWS_ENDPOINT": self.endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "very-secret",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class Gate:
    """A way to a server that can be shut and opened: what an outage is to its clients.

    It shuts by itself after so many PUT requests have passed, if `puts` is set.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.puts: int | None = None
        self.shut_by_itself = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listening: socket.socket | None = None
        self.port = 0
        self.open()

    @property
    def endpoint(self) -> str:
        """Where clients are to go."""
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Let requests pass."""
        self.puts = None
        self.shut_by_itself.clear()
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def shut(self) -> None:
        """Refuse connections, and cut those that there are."""
        with self._lock:
            listening, self._listening = self._listening, None
            ended, self._open = self._open, set()
        for one in (*((listening,) if listening else ()), *ended):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            with self._lock:
                self._open |= {client, server}
            for source, sink in ((client, server), (server, client)):
                job = threading.Thread(
                    target=self._pass, args=(source, sink, source is client), daemon=True
                )
                job.start()

    def _pass(self, source: socket.socket, sink: socket.socket, asking: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if asking and self.puts is not None and data.startswith(b"PUT "):
                    self.puts -= 1
                    if self.puts < 0:
                        self.shut()
                        self.shut_by_itself.set()
                        return
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
