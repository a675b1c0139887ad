"""A gateway as companies have one: `gateway.py BEHIND PATH KEY` serves BEHIND under PATH to those who have the key.

With `--no-list` it has no list of models, as many have none.

A process of its own, since what it asks is no request of a run's. It prints its port.
"""

import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BEHIND, PATH, KEY = sys.argv[1:4] if __name__ == "__main__" else ("", "", "")
HAS_LIST = "--no-list" not in sys.argv


class Gateway(BaseHTTPRequestHandler):
    """Forwards GET and POST; 401 without the key, 404 elsewhere."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self._forward(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self) -> None:
        if HAS_LIST:
            self._forward(None)
        else:
            self._answer(404, b"no such page")

    def _forward(self, body: bytes | None) -> None:
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self._answer(401, b'{"error": {"message": "no such key"}}')
        elif not self.path.startswith(f"{PATH}/"):
            self._answer(404, b'{"error": {"message": "nothing is here"}}')
        else:
            asked = urllib.request.Request(
                BEHIND + self.path.removeprefix(PATH), body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(asked) as reply:
                self._answer(reply.status, reply.read())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    print(server.server_port, flush=True)
    server.serve_forever()
