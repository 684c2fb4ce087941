"""A backend process: HTTP that says who served, and a UDP echo, both families. ``python -m netlab.backend NAME NODE HTTP_PORT ECHO_PORT``.

It stands for the pods behind a Service and knows nothing of service addresses: the node in front rewrites them (DNAT).
"""

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class DualStackServer(ThreadingHTTPServer):
    """Listens on every address of both families."""

    address_family = socket.AF_INET6
    daemon_threads = True

    def server_bind(self) -> None:
        """Take IPv4 as well, whatever net.ipv6.bindv6only says."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)


def handler(name: str, node: str) -> type[BaseHTTPRequestHandler]:
    """The handler of a backend ``name`` that lives behind ``node``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"{name} behind {node}: you asked {self.headers.get('Host', 'nobody')}\n".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Node", node)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing: the lab shows what was asked."""

    return Handler


def echo_forever(port: int) -> None:
    """Send every datagram back to where it came from."""
    echo = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    echo.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    echo.bind(("::", port))
    while True:
        octets, sender = echo.recvfrom(2048)
        echo.sendto(octets, sender)


def main(name: str, node: str, http_port: str, echo_port: str) -> None:
    """Serve until killed."""
    threading.Thread(target=echo_forever, args=(int(echo_port),), daemon=True).start()
    DualStackServer(("::", int(http_port)), handler(name, node)).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
