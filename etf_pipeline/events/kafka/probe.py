"""Does Kafka answer? Told within 100 ms whatever the network does."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from queue import Empty, SimpleQueue

from etf_pipeline.events.settings import EventSettings

PROBE_SECONDS = 0.08
_CORRELATION = 0x45544650
# How records of TLS begin: an alert or a handshake, of version 3.
_TLS = (b"\x15\x03", b"\x16\x03")
_HEAD = 8
_TLS_SPOKEN = "speaks TLS; set KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL"
_CLOSES = "closes the connection; is KAFKA_SECURITY_PROTOCOL right?"


def ask_kafka(settings: EventSettings, seconds: float = PROBE_SECONDS) -> str | None:
    """`probe` of the brokers that settings name, in the way that they are to be spoken to.

    Raises:
        SettingsError: a variable sets what the delivery guarantees rest on.
    """
    security = settings.client_config().get("security.protocol", "plaintext").lower()
    return probe(str(settings.kafka_bootstrap_servers), seconds, tls="ssl" in security)


def probe(servers: str, seconds: float = PROBE_SECONDS, tls: bool = False) -> str | None:
    """None when any of the brokers answers within `seconds`, else what is wrong, in words.

    Asks for the API versions (KIP-35), which a broker answers before any authentication; with
    `tls`, whether it answers in TLS at all. Runs in threads, as looking up a name cannot be given a
    deadline.
    """
    answers: SimpleQueue[str | None] = SimpleQueue()
    asked = [s.strip() for s in servers.split(",") if s.strip()]
    deadline = time.monotonic() + seconds
    for server in asked:
        threading.Thread(target=_ask, args=(server, tls, deadline, answers), daemon=True).start()
    reasons: list[str] = []
    for _ in asked:
        try:
            answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        if answer is None:
            return None
        reasons.append(answer)
    return reasons[0] if reasons else f"did not answer within {seconds * 1000:.0f} ms"


def _ask(server: str, tls: bool, deadline: float, answers: SimpleQueue[str | None]) -> None:
    host, _, port = server.rpartition(":")
    try:
        left = max(0.001, deadline - time.monotonic())
        with socket.create_connection((host.strip("[]"), int(port)), timeout=left) as raw:
            raw.settimeout(max(0.001, deadline - time.monotonic()))
            answers.put(_tls(raw, host) if tls else _plain(raw))
    except socket.gaierror:
        answers.put(f"cannot be resolved ({host})")
    except ConnectionRefusedError:
        answers.put("refuses connections")
    except (OSError, ValueError) as error:
        answers.put(f"does not answer ({error})")


def _plain(connection: socket.socket) -> str | None:
    client = b"etf"
    body = struct.pack(">hhih", 18, 0, _CORRELATION, len(client)) + client
    connection.sendall(struct.pack(">i", len(body)) + body)
    head = b""
    while len(head) < _HEAD and (part := connection.recv(_HEAD - len(head))):
        head += part
    if len(head) < _HEAD:
        return _TLS_SPOKEN if head.startswith(_TLS) else _CLOSES
    if struct.unpack(">ii", head)[1] == _CORRELATION:
        return None
    return _TLS_SPOKEN if head.startswith(_TLS) else "does not speak the Kafka protocol"


def _tls(connection: socket.socket, host: str) -> str | None:
    """Greet in TLS. Whoever answers in it, be it by an alert, is taken for a broker.

    It may want a certificate of ours, or be one that we refuse: librdkafka sees to that, with the
    client's own settings.
    """
    greeting = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # no authorities: loading them takes long
    session = context.wrap_bio(ssl.MemoryBIO(), greeting, server_hostname=host)
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    connection.sendall(greeting.read())
    try:
        answer = connection.recv(_HEAD)
    except ConnectionResetError:
        answer = b""
    if not answer:
        return _CLOSES
    return (
        None if answer.startswith(_TLS) else "does not speak TLS; is KAFKA_SECURITY_PROTOCOL right?"
    )
