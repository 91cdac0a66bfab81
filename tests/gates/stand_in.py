"""A stand-in for `vllm serve` with settable faults; stdlib only. The fault is in the variable STAND_IN.

Takes the arguments of the real command and uses --port, --host and --served-model-name. Run it through a link or copy
named `vllm` beside a Python (see `conftest.py`). Faults, joined by commas: never-ready, silent (idle, no log), busy
(silent, but computing), die-at-start, die-late, traceback, slow-start=S, no-health, health-503, wrong-model,
models-hang, error-500, bad-request, crash-on-request, crash-after=N (after N answers, and it gives no more), hang,
half-open, cut, garbage,
empty, repeat, replacement, nan, deaf (ignores SIGTERM), grandchild (a daemon in its own session that ignores SIGTERM),
flood (1 MB of log per answer and at the start), no-image, no-audio, huge, crash-with=WORD (crash on a request if WORD
is one of the arguments), once=FILE (crash on a request, but only the first time), no-stream, no-hits, deaf-to-schema,
deaf-to-adapter, idle-replica (the second of two never works), endless (a schema's answer is cut off at temperature 0),
batch-drift and batch-fault (another token when requests overlap: by a hair, or by far), twin (another token of
the same text when requests overlap), graph-fault (another token without --enforce-eager), never-compiles (says so in
its configuration), secret (logs its command line), say=TEXT (logs it, ; for a comma),
nan-refused (400 when log-probabilities are asked for), fits=N (refuses a context above N tokens as vLLM does),
crash-stream (dies when asked to stream), no-tokens (nothing under the best of each place), late-hits=N (the cache hits
from the request after the Nth on), no-logprobs (leaves them
out), ends=N (refuses a context above N tokens as the model's own end), sick-after=N (500 to requests and 503 of /health
from the Nth answer on), sick-stream (from a request to stream on).
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FAULTS = dict(part.partition("=")[::2] for part in os.environ.get("STAND_IN", "").split(",") if part)
ANSWERS = [0]
HITS = [0]
PROMPTS = [0]
BUSY = [0, 0]  # requests under way now, and at most so far
RANKED = [0]  # requests for the best of each place so far; an agreement asks for 8 one by one, then for 8 at once
COUNTING = threading.Lock()


def option(name, default=None):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def log(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def sick():
    return ANSWERS[0] >= int(FAULTS.get("sick-after", 10**9))


def flood():
    for number in range(1024):
        log(f"INFO {number} " + "x" * 1000)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, form, *args):
        log("INFO:     " + form % args)

    def answer(self, status, document):
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refused(self):
        """Like vLLM: everything below /v1 wants the key, /health and /metrics do not."""
        key = option("--api-key")
        if key and self.path.startswith("/v1") and self.headers.get("Authorization") != f"Bearer {key}":
            self.answer(401, {"error": "Unauthorized"})
            return True
        return False

    def do_GET(self):
        if self.refused():
            return None
        if self.path == "/health":
            if "no-health" in FAULTS:
                return self.answer(404, {"detail": "Not Found"})
            return self.answer(503 if sick() or "health-503" in FAULTS else 200, b"")
        if self.path == "/metrics":
            gauges = {"num_requests_running": 3, "prefix_cache_hits_total": HITS[0]}
            lines = [f'vllm:{name}{{engine="0"}} {float(value)}\n' for name, value in gauges.items()]
            if "long-blocks" in FAULTS or "cache-off" in FAULTS:
                labels = (
                    f'block_size="{FAULTS.get("long-blocks", 16)}",enable_prefix_caching="{"cache-off" not in FAULTS}"'
                )
                lines.append(f"vllm:cache_config_info{{{labels}}} 1.0\n")
            for engine in range(int(option("--data-parallel-size", 1))):
                done = 0 if engine and "idle-replica" in FAULTS else 4
                lines.append(f'vllm:request_success_total{{engine="{engine}",finished_reason="stop"}} {float(done)}\n')
            return self.answer(200, "".join(lines).encode())
        if "models-hang" in FAULTS:
            time.sleep(3600)
        name = "something-else" if "wrong-model" in FAULTS else option("--served-model-name")
        self.answer(200, {"object": "list", "data": [{"id": name}]})

    def do_POST(self):
        with COUNTING:
            BUSY[0] += 1
            BUSY[1] = max(BUSY)
        try:
            self.post()
        finally:
            with COUNTING:
                BUSY[0] -= 1

    def post(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.refused():
            return None
        crash = "crash-on-request" in FAULTS or FAULTS.get("crash-with", "?") in sys.argv
        if "once" in FAULTS and not Path(FAULTS["once"]).exists():
            Path(FAULTS["once"]).touch()
            crash = True
        if crash:
            log("!!!!!!! Segfault encountered !!!!!!!")
            os.kill(os.getpid(), signal.SIGSEGV)
        if body.get("stream") and "sick-stream" in FAULTS:
            FAULTS["sick-after"] = 0
        if "error-500" in FAULTS or sick():
            return self.answer(500, {"error": {"message": "EngineCore encountered an issue", "code": 500}})
        if "bad-request" in FAULTS:
            return self.answer(400, {"error": {"message": "no chat template", "code": 400}})
        if "nan-refused" in FAULTS and "logprobs" in body:
            return self.answer(400, {"error": {"message": "Out of range float values are not JSON compliant: nan"}})
        image = "image_url" in json.dumps(body.get("messages", ""))
        if "no-audio" in FAULTS and "input_audio" in json.dumps(body.get("messages", "")):
            return self.answer(500, {"error": {"message": "No module named 'av'", "code": 500}})
        if image and "no-image" in FAULTS:
            return self.answer(500, {"error": {"message": "placeholders do not match", "code": 500}})
        if "hang" in FAULTS or ANSWERS[0] >= int(FAULTS.get("crash-after") or 10**9):
            time.sleep(3600)
        if "half-open" in FAULTS or "cut" in FAULTS:
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.wfile.flush()
            if "half-open" in FAULTS:
                time.sleep(3600)
            self.close_connection = True
            return None
        if "garbage" in FAULTS:
            return self.answer(200, b"\x00\xff\xfe not json")
        if "huge" in FAULTS:
            return self.answer(200, b"x" * (17 << 20))
        if "flood" in FAULTS:
            flood()
        if body.get("stream") and "crash-stream" in FAULTS:
            log("RuntimeError: the stream broke the engine")
            os._exit(3)
        with COUNTING:
            PROMPTS[0] += 1
        if "no-hits" not in FAULTS and PROMPTS[0] > int(FAULTS.get("late-hits") or 0):
            HITS[0] += body["max_tokens"]
        if body.get("stream") and "no-stream" not in FAULTS:
            return self.stream()
        self.answer(200, self.choice(body))
        with COUNTING:
            ANSWERS[0] += 1
            number = ANSWERS[0]
        if FAULTS.get("crash-after") == str(number):
            log("RuntimeError: the decoder died")
            threading.Timer(0.05, os._exit, (3,)).start()
        return None

    def stream(self):
        pieces = [json.dumps({"choices": [{"text": t}]}, separators=(",", ":")) for t in ("aye", ",", " aye")]
        data = "".join(f"data: {piece}\n\n" for piece in [*pieces, "[DONE]"]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def choice(self, body):
        if "response_format" in body and "endless" in FAULTS and not body["temperature"]:
            return {"choices": [{"message": {"content": '{"side": "port"   '}, "finish_reason": "length"}]}
        if "response_format" in body and "deaf-to-schema" not in FAULTS:
            return {"choices": [{"message": {"content": '{"side": "port"}'}, "finish_reason": "stop"}]}
        tokens = ["aye", ",", " aye", ",", " captain", "!", " All", " well", "."]
        if "repeat" in FAULTS:
            tokens = ["ha"] * 12
        if "replacement" in FAULTS:
            tokens = ["\ufffd", "a", "\ufffd", "b", "c", "d", "e", "f", "g"]
        if "empty" in FAULTS:
            tokens = []
        logprob = float("nan") if "nan" in FAULTS else -0.5
        if body["model"] == "seatrial-lora" and "deaf-to-adapter" not in FAULTS:
            logprob = -0.75
        content = [{"token": t, "logprob": logprob} for t in tokens]
        logprobs = {"content": content, "tokens": tokens, "token_logprobs": [logprob] * len(tokens)}
        text = "".join(tokens)
        choice = {"index": 0, "text": text, "message": {"role": "assistant", "content": text}, "logprobs": logprobs}
        if isinstance(body.get("logprobs"), int) and body["logprobs"] > 1:
            with COUNTING:
                RANKED[0] += 1
                alone = RANKED[0] <= 8 or not FAULTS.keys() & {"batch-drift", "batch-fault", "twin"}
            while not alone and BUSY[1] < 2:
                time.sleep(0.01)
            top = [{t: logprob, " other": logprob - 0.02} for t in tokens]
            choice["logprobs"]["top_logprobs"] = top
            if "no-tokens" in FAULTS:
                choice["logprobs"] = {"tokens": [], "token_logprobs": [], "top_logprobs": []}
            if "batch-drift" in FAULTS and BUSY[1] > 1:
                choice["logprobs"]["tokens"] = [*tokens[:2], " other", *tokens[3:]]
            graph_fault = "graph-fault" in FAULTS and "--enforce-eager" not in sys.argv
            if graph_fault or ("batch-fault" in FAULTS and BUSY[1] > 1):
                choice["logprobs"]["tokens"] = [*tokens[:2], " wrong", *tokens[3:]]
            if body.get("return_tokens_as_token_ids"):
                by_number(choice["logprobs"])
                if "twin" in FAULTS and BUSY[1] > 1:
                    # Another token that is written as the same text.
                    choice["logprobs"]["tokens"][2] += "0000"
        if "no-logprobs" in FAULTS:
            del choice["logprobs"]
        # A medium in base64 is long, and so it is many prompt tokens.
        usage = {"completion_tokens": len(tokens), "prompt_tokens": len(json.dumps(body.get("messages", ""))) // 100}
        return {"choices": [{**choice, "finish_reason": "stop"}], "usage": usage}


def by_number(logprobs):
    """Tokens as `token_id:12` instead of as text, as vLLM writes them on request."""

    def number(text):
        return f"token_id:{int.from_bytes(text.encode(), 'big') % 99991}"

    logprobs["tokens"] = [number(t) for t in logprobs["tokens"]]
    logprobs["top_logprobs"] = [{number(t): p for t, p in row.items()} for row in logprobs["top_logprobs"]]


def main():
    config = " compilation_config={'mode': <CompilationMode.NONE: 0>}" if "never-compiles" in FAULTS else ""
    log("INFO 11-20 00:00:00 [core.py:1] Initializing a V1 LLM engine (stand-in)" + config)
    if "say" in FAULTS:
        log(FAULTS["say"].replace(";", ","))
    if "secret" in FAULTS:
        log(f"ValueError: non-default args: {sys.argv[1:]}")
    if "--enable-expert-parallel" in sys.argv:
        log("(Worker pid=1) INFO 11-20 00:00:00 [x.py:250] [EP Rank 0/2] Expert parallelism is enabled. Expert linear")
    if "deaf" in FAULTS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "grandchild" in FAULTS:
        code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(3600)"
        child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
        child.stdout.readline()
    if "flood" in FAULTS:
        flood()
    wanted = int(option("--max-model-len", 0))
    if wanted > int(FAULTS.get("ends", wanted)):
        raise ValueError(
            f"User-specified max_model_len ({wanted}) is greater than the derived max_model_len "
            f"(max_position_embeddings={FAULTS['ends']} or model_max_length=None in model's config.json)."
        )
    if wanted > int(FAULTS.get("fits", wanted)):
        fits = FAULTS["fits"]
        raise ValueError(
            f"To serve at least one request with the model's max seq len ({wanted}), (9.0 GiB KV cache is needed, "
            "which is larger than the available KV cache memory. Based on the available memory, "
            f"the estimated maximum model length is {fits}. "
        )
    log("(EngineCore pid=1) INFO 11-20 00:00:00 [kv.py:1] CPU KV cache size: 9,000 tokens, Maximum concurrency for 1")
    if "die-at-start" in FAULTS:
        sys.exit(7)
    if "traceback" in FAULTS:
        raise KeyError("layers.3.mlp.gate.e_score_correction_bias")
    if "die-late" in FAULTS:
        time.sleep(0.3)
        os.abort()
    if "silent" in FAULTS:
        time.sleep(3600)
    if "busy" in FAULTS:
        until = time.monotonic() + 3600
        while time.monotonic() < until:
            pass
    if "never-ready" in FAULTS:
        while True:
            log("INFO still here")
            time.sleep(0.05)
    time.sleep(float(FAULTS.get("slow-start") or 0))
    ThreadingHTTPServer.request_queue_size = 128
    server = ThreadingHTTPServer((option("--host"), int(option("--port"))), Handler)
    log(f"READY AT {time.monotonic()}")
    log("INFO:     Application startup complete.")
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in FAULTS else lambda *_: os._exit(0))
    server.serve_forever()


if __name__ == "__main__":
    main()
