"""Does Kafka answer? Told within 100 ms whatever the network does."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from queue import Empty, SimpleQueue

from etf_pipeline.events.settings import EventSettings

PROBE_SECONDS = 0.08
_CORRELATION = 0x45544650


def ask_kafka(settings: EventSettings, seconds: float = PROBE_SECONDS) -> str | None:
    """`probe` of the brokers that settings name, in the way that they are to be spoken to.

    Raises:
        SettingsError: a variable sets what the delivery guarantees rest on.
    """
    security = settings.client_config().get("security.protocol", "plaintext").lower()
    return probe(str(settings.kafka_bootstrap_servers), seconds, tls="ssl" in security)


def probe(servers: str, seconds: float = PROBE_SECONDS, tls: bool = False) -> str | None:
    """None when any of the brokers answers within `seconds`, else what is wrong, in words.

    Asks for the API versions (KIP-35), which a broker answers before any authentication. Runs in
    threads, as looking up a name cannot be given a deadline.
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
            if tls:
                # Nothing is sent that is worth protecting; librdkafka checks the certificate.
                context = ssl.create_default_context()
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                with context.wrap_socket(raw, server_hostname=host) as secure:
                    answers.put(_api_versions(secure))
            else:
                answers.put(_api_versions(raw))
    except socket.gaierror:
        answers.put(f"cannot be resolved ({host})")
    except ConnectionRefusedError:
        answers.put("refuses connections")
    except (OSError, ValueError) as error:
        answers.put(f"does not answer ({error})")


def _api_versions(connection: socket.socket) -> str | None:
    client = b"etf"
    body = struct.pack(">hhih", 18, 0, _CORRELATION, len(client)) + client
    connection.sendall(struct.pack(">i", len(body)) + body)
    head = b""
    while len(head) < 8:
        part = connection.recv(8 - len(head))
        if not part:
            return "closes the connection; is security.protocol right?"
        head += part
    if struct.unpack(">ii", head)[1] != _CORRELATION:
        return "does not speak the Kafka protocol"
    return None
