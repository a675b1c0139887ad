#!/usr/bin/env bash
# litellm and a remote Ollama: each completion with `api_base=` also connects to port 11434 of this machine.
#
# One would guess: with `api_base="http://other-host:port"` every request of the call goes to that host, so a recorder,
#   a firewall or a sandbox has to allow one address.
# What is: the chat request goes there, and beside it litellm asks `http://localhost:11434/api/show` for the model's
#   details, more than once a call. Where nothing listens the refused connections are swallowed; where another Ollama
#   listens, its details of a model of that name are taken. Nothing of it is in the answer or on stderr.
# Source: litellm/llms/ollama/common_utils.py and completion/transformation.py (the request to `/api/show`).
#
# Exits 0 while that is so, 1 when it changed. No Ollama is needed: a loopback server answers the chat.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check "litellm==1.106.2" 2> /dev/null
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/env/bin/python" -W ignore - <<'PY'
import json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

connected = []


def note(event, given):
    if event == "socket.connect" and isinstance(given[1], tuple):
        connected.append(given[1][1])


class Chat(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        answer = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": True, "prompt_eval_count": 1,
                  "eval_count": 1, "message": {"role": "assistant", "content": "hi"}}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *given):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
threading.Thread(target=server.serve_forever, daemon=True).start()
import litellm

sys.addaudithook(note)
answer = litellm.completion(
    model="ollama_chat/some-model", api_base=f"http://127.0.0.1:{server.server_port}",
    messages=[{"role": "user", "content": "hi"}],
)
asked, beside = connected.count(server.server_port), connected.count(11434)
print(f"litellm {version('litellm')}: answer {answer.choices[0].message.content!r}; connections to the server that was "
      f"named: {asked}; to port 11434 of this machine: {beside}")
sys.exit(0 if asked >= 1 and beside >= 1 else 1)
PY
