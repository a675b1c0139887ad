"""One model behind llama.cpp's OpenAI-compatible server on loopback: `serve.py FILE NAME PORT CONTEXT`.

One slot and no prompt cache, so that an answer depends on its request alone as far as the server lets it; and one
thread less than there are cores, since llama.cpp's threads spin where they have to share a core.
"""

import os
import signal
import sys
import time

import xllamacpp  # type: ignore[import-not-found]

if __name__ == "__main__":
    file, name, port, context = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.model_alias = {name}
    params.port = int(port)
    params.n_ctx = int(context)
    params.n_parallel = 1
    params.cache_prompt = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, (os.cpu_count() or 2) - 1)
    server = xllamacpp.Server(params)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print(f"ready {server.listening_address} {xllamacpp.__version__}", flush=True)
    while True:
        time.sleep(3600)
