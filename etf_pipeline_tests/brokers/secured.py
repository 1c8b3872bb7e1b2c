"""Apache Kafka with TLS, passwords, client certificates and rights (KRaft's StandardAuthorizer).

    with Secured(folder, "SASL_SSL") as broker:
        broker.allow("etf", "WRITE", topic="t.", prefixed=True)
        monkeypatch.setenv(...)  # of broker.variables("etf")
        broker.withdraw("etf")

Beside the secured listener there is one on loopback for the tests themselves, without any security
and with every right: `broker.admin()`.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from etf_pipeline.events.kafka.probe import ask_kafka
from etf_pipeline.events.settings import EventSettings
from etf_pipeline_tests.brokers import free_port
from etf_pipeline_tests.brokers.apache import Apache, library
from etf_pipeline_tests.brokers.certificates import Authority, Identity

PASSWORD = "s3cret-word"
# The users of the commands in docs/events.md.
ROLES = ("producer", "reader", "worker")
_PATIENCE = 20.0


class Secured(Apache):
    """One node; what a client may do is what `allow` said, and no more.

    Args:
        folder: of the broker; certificates are made in it.
        security: of the listener for clients: SASL_SSL, SSL or SASL_PLAINTEXT.
        client_auth: whether clients show a certificate: `none`, `requested` or `required`.
        users: by name, passwords for SASL/PLAIN; by default `etf` and one for each role.
        expired: whether the broker's certificate has run out.
        hosts: that its certificate is for.
        settings: of server.properties, `_` for each dot, or as `**{"a.b": …}`.
    """

    name = "apache-secured"

    def __init__(
        self,
        folder: Path,
        security: str = "SASL_SSL",
        *,
        client_auth: str = "none",
        users: dict[str, str] | None = None,
        expired: bool = False,
        hosts: tuple[str, ...] = ("localhost", "127.0.0.1"),
        **settings: str,
    ) -> None:
        super().__init__(folder, **settings)
        self.security = security
        self.client_auth = client_auth
        self.users = users or dict.fromkeys(("etf", *ROLES), PASSWORD)
        self.inside = free_port()
        self.authority = Authority(folder / "certificates")
        self._identity = self.authority.issue("broker", hosts, expired=expired)
        self._clients: dict[str, Identity] = {}
        self._admin: AdminClient | None = None

    def properties(self) -> dict[str, str]:
        """server.properties."""
        users = " ".join(f'user_{n}="{p}"' for n, p in self.users.items())
        return {
            **super().properties(),
            "listeners": f"CLIENT://127.0.0.1:{self.port},INSIDE://127.0.0.1:{self.inside},"
            f"CONTROLLER://127.0.0.1:{self.controller}",
            "advertised.listeners": f"CLIENT://127.0.0.1:{self.port},"
            f"INSIDE://127.0.0.1:{self.inside}",
            "inter.broker.listener.name": "INSIDE",
            "listener.security.protocol.map": f"CLIENT:{self.security},INSIDE:PLAINTEXT,"
            "CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.client.plain.sasl.jaas.config": "org.apache.kafka.common.security."
            f"plain.PlainLoginModule required {users};",
            "listener.name.client.ssl.keystore.type": "PEM",
            "listener.name.client.ssl.keystore.location": str(self._identity.both),
            "listener.name.client.ssl.truststore.type": "PEM",
            "listener.name.client.ssl.truststore.location": str(self.authority.certificate),
            "listener.name.client.ssl.client.auth": self.client_auth,
            "listener.name.client.ssl.principal.mapping.rules": "RULE:^CN=([^,]*).*$/$1/",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # The tests' own listener and the controller's are without security.
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
            **self.settings,
        }

    def answers(self) -> str | None:
        """None when it does, asked inside."""
        return ask_kafka(EventSettings(kafka_bootstrap_servers=self.inside_servers), 1.0)

    @property
    def inside_servers(self) -> str:
        """The listener with every right."""
        return f"127.0.0.1:{self.inside}"

    def admin(self) -> AdminClient:
        """A client with every right."""
        if self._admin is None:  # its answers end with it, so it must outlive the call
            self._admin = AdminClient({"bootstrap.servers": self.inside_servers, "log_level": 0})
        return self._admin

    def identity(self, user: str) -> Identity:
        """The user's certificate."""
        if user not in self._clients:
            self._clients[user] = self.authority.issue(user)
        return self._clients[user]

    def variables(self, user: str) -> dict[str, str]:
        """The `KAFKA_…` variables of a client that is set up as it should be."""
        found = {"KAFKA_BOOTSTRAP_SERVERS": self.servers, "KAFKA_SECURITY_PROTOCOL": self.security}
        if "SASL" in self.security:
            found["KAFKA_SASL_MECHANISM"] = "PLAIN"
            found["KAFKA_SASL_USERNAME"] = user
            found["KAFKA_SASL_PASSWORD"] = self.users[user]
        if "SSL" in self.security:
            found["KAFKA_SSL_CA_LOCATION"] = str(self.authority.certificate)
        if self.client_auth != "none":
            mine = self.identity(user)
            found["KAFKA_SSL_CERTIFICATE_LOCATION"] = str(mine.certificate)
            found["KAFKA_SSL_KEY_LOCATION"] = str(mine.key)
        return found

    def allow(
        self,
        user: str,
        *operations: str,
        topic: str | None = None,
        group: str | None = None,
        prefixed: bool = False,
    ) -> None:
        """Give rights on a topic, on a group, or else on the cluster; they hold on return.

        Operations are Kafka's own: READ, WRITE, CREATE, DESCRIBE, DESCRIBE_CONFIGS, ALL and so on.
        """
        kind, name = ResourceType.BROKER, "kafka-cluster"
        if topic is not None:
            kind, name = ResourceType.TOPIC, topic
        elif group is not None:
            kind, name = ResourceType.GROUP, group
        pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
        wanted = [
            AclBinding(
                kind,
                name,
                pattern,
                f"User:{user}",
                "*",
                AclOperation[operation],
                AclPermissionType.ALLOW,
            )
            for operation in operations
        ]
        for future in self.admin().create_acls(wanted).values():
            future.result(_PATIENCE)
        _await(lambda: set(wanted) <= set(self._rights(user)))

    def withdraw(self, user: str) -> None:
        """Take every right of a user away; they are gone on return."""
        for future in self.admin().delete_acls([_of(user)]).values():
            future.result(_PATIENCE)
        _await(lambda: not self._rights(user))

    def _rights(self, user: str) -> list[AclBinding]:
        return list(self.admin().describe_acls(_of(user)).result(_PATIENCE))

    def acls(self, *arguments: str) -> str:
        """Run Kafka's own `kafka-acls` with these arguments, inside; what it printed."""
        tools = library("kafka-tools")
        command = self._java(
            "org.apache.kafka.tools.AclCommand",
            "--bootstrap-server",
            self.inside_servers,
            *arguments,
        )
        where = command.index("-cp") + 1
        command[where] = f"{command[where]}:{tools}/*"
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _of(user: str) -> AclBindingFilter:
    return AclBindingFilter(
        ResourceType.ANY,
        None,
        ResourcePatternType.ANY,
        f"User:{user}",
        None,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )


def _await(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not done():
        assert time.monotonic() < deadline, "the broker does not take the rights over"
        time.sleep(0.05)
