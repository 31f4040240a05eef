"""The process: one address, one HTTP server, one service, and signals that end it in good order."""

from __future__ import annotations

import ipaddress
import os
import re
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress

import uvicorn

from gateway.config import Configuration
from gateway.errors import TocsinError
from gateway.service import Options, Service
from gateway.web.auth import within
from gateway.web.protocol import GatewayProtocol

BACKLOG = 2048
_LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


def serve(options: Options, configuration: Configuration) -> None:
    """Run the gateway until SIGTERM or SIGINT. Raises TocsinError where it cannot start; then nothing was touched."""
    GatewayProtocol.most = _cap(options.environ, "TOCSIN_MAX_CONNECTIONS", 512)
    GatewayProtocol.most_an_address = _cap(options.environ, "TOCSIN_MAX_PER_ADDRESS", 64)
    service = Service(options, configuration)
    listening = _listen(options.host, options.port)
    try:
        service.store.open()
    except TocsinError:
        listening.close()
        raise
    GatewayProtocol.exempt = staticmethod(lambda address: exempt(address, service.house.configuration))
    server = uvicorn.Server(
        uvicorn.Config(
            service.app(),
            host=options.host,
            port=options.port,
            http=GatewayProtocol,
            ws="none",
            loop="uvloop",
            lifespan="on",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            log_config=None,
            timeout_graceful_shutdown=2,
            backlog=BACKLOG,
        )
    )
    # uvicorn ends by raising the signal it was stopped with once more: a stop in good order is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with suppress(KeyboardInterrupt, SystemExit):  # the latter where `start` failed; its log line says why
        server.run(sockets=[listening])
    if server.force_exit:  # asked twice: the threads of its connections would keep the process for ever
        os._exit(130)
    if not server.started:
        raise TocsinError(service.fault or "the gateway could not start; the log says why")


def _listen(host: str, port: int) -> socket.socket:
    """Before all else: who cannot be reached must not send either. Senders wait in the queue until we serve."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise TocsinError(
            f"could not listen on {host}:{port} ({why}); is the port taken? Name another by --port"
        ) from None


def _cap(environ: Mapping[str, str], name: str, otherwise: int) -> int:
    text = environ.get(name, "").strip() or str(otherwise)
    if not re.fullmatch("0*[1-9][0-9]{0,8}", text):
        raise TocsinError(f"{name}: is no number of connections; write it like {otherwise}")
    return int(text)


def exempt(address: str, configuration: Configuration) -> bool:
    """Whether many connections from this address are no wonder: this machine's own, and a proxy's."""
    return within(address, _LOOPBACK) or within(address, configuration.trusted_proxies)
