#!/usr/bin/env bash
# litellm and a server that is not running: a refused connection is raised as InternalServerError with status 500.
#
# One would guess: `APIConnectionError`, which litellm has, as the openai client beneath it raises; a 500 would mean that
#   a server answered and failed.
# What is: the exception is `litellm.InternalServerError`, its `status_code` is 500 and it is no APIConnectionError; only
#   the chain of exceptions still holds openai's. Retry rules that go by status take a wrong port for an overloaded server.
# Source: litellm/litellm_core_utils/exception_mapping_utils.py (the branch for APIConnectionError of openai's client).
#
# Exits 0 while that is so, 1 when it changed. Nothing listens on the port that is asked; no key and no network is needed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check "litellm==1.106.2" "openai==2.54.0" 2> /dev/null
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/env/bin/python" -W ignore - <<'PY'
import socket, sys
from importlib.metadata import version

import litellm
import openai

litellm.suppress_debug_info = True
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
try:
    litellm.completion(
        model="openai/m", api_base=f"http://127.0.0.1:{port}/v1", api_key="k", num_retries=0, max_retries=0,
        messages=[{"role": "user", "content": "hi"}],
    )
except Exception as error:
    raised, links = error, []
    while error is not None and error not in links:
        links.append(error)
        error = error.__cause__ or error.__context__
    beneath = any(isinstance(link, openai.APIConnectionError) for link in links[1:])
    print(f"litellm {version('litellm')}, openai {version('openai')}: a refused connection is {type(raised).__name__}, "
          f"status {raised.status_code}, an APIConnectionError of litellm: {isinstance(raised, litellm.APIConnectionError)}; "
          f"openai's APIConnectionError beneath it: {beneath}")
    sys.exit(0 if raised.status_code == 500 and not isinstance(raised, litellm.APIConnectionError) and beneath else 1)
sys.exit(1)
PY
