"""A fast stand-in server of the OpenAI API that writes down its own times; asyncio and the standard library only.

`python fast_server.py [--ttft S] [--gap S] [--slots N] [--kind vllm|sglang|xllm] [--fault NAME[=N],...] [--tls PEM]
[--api-key KEY]` prints its port on the first line. Every answer has `max_tokens` tokens. GET /times gives, by MD5 of
each request's body, four times of CLOCK_MONOTONIC: when it was read whole, just before its first byte was handed to the
kernel, just before the last piece was, and just after. A client that has the whole answer looked at the clock after the
third time; nothing orders it and the fourth, for this process may lose its core in between.
`slots`: at most so many requests are worked on at once, the others wait.
With a key, whatever is under /v1 answers 401 without it, and repeats what it was given, as a careless gateway does.
Faults: die-after=N, close-after=N (each connection after N answers), error-in-stream, http-500, no-usage, no-done,
empty, garbage, not-ready (never), key-back (in an error), other-tokenizer, silent-after=N, not-http, coarse (all in
one piece), hold-until=N (nothing is answered before N requests are here), full-above=N (503 to who comes while N are
worked on), want-other=N (from the N-th stream on none is begun before somebody asked for an answer without a stream).
GET /speak ends the silence of silent-after.
"""

import asyncio
import hashlib
import json
import os
import ssl
import sys
import time
from typing import ClassVar


def option(name, default):
    """The last value of a flag, as argparse has it."""
    words = [part for word in sys.argv for part in (word.split("=", 1) if word.startswith("--") else [word])]
    words = [word.replace("_", "-") if word.startswith("--") else word for word in words]
    places = [i for i, word in enumerate(words) if word == name]
    return type(default)(words[places[-1] + 1]) if places else default


TTFT, GAP, SLOTS = option("--ttft", 0.0), option("--gap", 0.0), option("--slots", 10**9)
KIND, MODEL = option("--kind", "vllm"), option("--served-model-name", option("--model-id", "stand-in"))
# As a stand-in for `vllm serve` its faults come from the environment, and its slots from the real flag.
FAULTS = dict(p.partition("=")[::2] for p in option("--fault", os.environ.get("STAND_IN", "")).split(",") if p)
TTFT = TTFT or float(os.environ.get("STAND_IN_TTFT", "0"))
SLOTS = option("--max-num-seqs", SLOTS)
KEY = option("--api-key", "")
TIMES = {}
SUMS = [0, 0.0, 0.0]  # answered, seconds to the first token, seconds in all
ANSWERED = [0, 0, 0, 0]  # requests, drafts, draft tokens, accepted tokens
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"


def piece(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


PIECE = piece(
    b'data: {"id":"c","object":"text_completion","choices":[{"index":0,"text":" aye","finish_reason":null}]}\n\n'
)


class Server(asyncio.Protocol):
    busy = here = 0  # worked on now, and streams asked for so far
    waiting: ClassVar[list] = []

    def connection_made(self, transport):
        self.transport, self.buffer, self.answered = transport, b"", 0

    def data_received(self, data):
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line[15:])
        if len(rest) < length:
            return
        at = time.monotonic()
        self.buffer = rest[length:]
        method, path = head.split(b" ", 2)[:2]
        given = next((line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"authorization: ")), b"")
        if KEY and path.startswith(b"/v1") and given != b"Bearer " + KEY.encode():
            return self.plain(401, {"error": {"message": f"wrong key: {given.decode()}"}})
        if "key-back" in FAULTS and method == b"POST":
            return self.plain(403, {"error": {"message": f"no right to this: {given.decode()}"}})
        if method == b"GET":
            return self.get(path.decode())
        if method != b"POST":
            self.transport.write(b"HTTP/1.1 405 X\r\nContent-Length: 0\r\n\r\n")
            return
        self.post(rest[:length], at, path.decode())

    def plain(self, status, document):
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        self.transport.write(head.encode() + data)

    def get(self, path):
        if path == "/speak":
            FAULTS.pop("silent-after", None)
            return self.plain(200, b"")
        if path == "/times":
            return self.plain(200, TIMES)
        if path in ("/health", "/health_generate"):
            return self.plain(503 if "not-ready" in FAULTS else 200, b"")
        if path == "/server_info" and KIND == "sglang":
            return self.plain(200, {"version": "0.5.4"})
        if path == "/v1/models":
            return self.plain(200, {"data": [{"id": MODEL}]})
        if path == "/metrics" and KIND == "vllm":
            names = ("spec_decode_num_drafts", "spec_decode_num_draft_tokens", "spec_decode_num_accepted_tokens")
            text = "".join(
                f'vllm:{n}_total{{engine="0"}} {float(v)}\n' for n, v in zip(names, ANSWERED[1:], strict=True)
            )
            return self.plain(200, (text + self.seen("vllm", 'engine="0"', "request_success_total")).encode())
        if path == "/metrics" and KIND == "sglang":
            text = 'sglang:spec_accept_length{model_name="m"} 2.5\nsglang:num_running_reqs{model_name="m"} 0.0\n'
            return self.plain(200, (text + self.seen("sglang", 'model_name="m"', "num_requests_total")).encode())
        if path == "/vars" and KIND == "xllm":
            pairs = {"accepted": ANSWERED[3], "draft": ANSWERED[2]}
            text = "".join(f"speculative_num_{name}_tokens_total : {value}\n" for name, value in pairs.items())
            text += f"server_request_total_ok : {SUMS[0]}\n"
            return self.plain(200, text.encode())
        self.plain(404, {"detail": "Not Found"})

    def seen(self, who, labels, count):
        """What the server saw of its own latencies, as histograms' sums and counts."""
        text = f"{who}:{count}{{{labels}}} {float(SUMS[0])}\n"
        for name, total in (("time_to_first_token_seconds", SUMS[1]), ("e2e_request_latency_seconds", SUMS[2])):
            text += f"{who}:{name}_sum{{{labels}}} {total}\n{who}:{name}_count{{{labels}}} {float(SUMS[0])}\n"
        return text

    def post(self, body, at, path):
        ANSWERED[0] += 1
        number = ANSWERED[0]
        asked = json.loads(body)
        tokens = asked.get("max_tokens", 1)
        ANSWERED[1] += 1
        ANSWERED[2] += 3 * tokens
        ANSWERED[3] += 2 * tokens
        if number > int(FAULTS.get("die-after", 10**9)):
            os._exit(3)
        if number > int(FAULTS.get("silent-after", 10**9)):
            return
        if Server.busy >= int(FAULTS.get("full-above", 10**9)):
            return self.plain(503, {"error": {"message": "the queue is full"}})
        if "http-500" in FAULTS:
            return self.plain(500, {"error": {"message": "EngineCore encountered an issue"}})
        if "not-http" in FAULTS:
            self.transport.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
            return
        if "garbage" in FAULTS:
            return self.plain(200, b"\x00\xff not json")
        prompt = asked.get("prompt")
        usage = {"prompt_tokens": len(prompt) if isinstance(prompt, list) else 7, "completion_tokens": tokens}
        if "other-tokenizer" in FAULTS:
            usage["prompt_tokens"] += 1
        if path.endswith("chat/completions"):
            text = json.dumps({"choices": [{"index": 0, "delta": {"content": " aye"}}]}).encode()
            one = piece(b"data: " + text + b"\n\n")
        else:
            one = PIECE
        if not asked.get("stream"):
            if Server.here >= int(FAULTS.get("want-other", 10**9)):
                del FAULTS["want-other"]
                self.admit()
            now = time.monotonic()
            self.plain(200, {"choices": [{"text": " aye" * tokens, "finish_reason": "length"}], "usage": usage})
            return self.noted(hashlib.md5(body).hexdigest(), at, now, now)
        Server.waiting.append((self, hashlib.md5(body).hexdigest(), at, tokens, one, usage))
        Server.here += 1
        self.admit()

    def admit(self):
        least, most = int(FAULTS.get("hold-until", 0)), int(FAULTS.get("want-other", 10**9))
        if not least <= Server.here < most:
            return
        while Server.waiting and Server.busy < SLOTS:
            job = Server.waiting.pop(0)
            job[0].begin(job)

    def begin(self, job):
        Server.busy += 1
        if TTFT:
            asyncio.get_running_loop().call_later(TTFT, self.stream, job)
        else:
            self.stream(job)

    def stream(self, job):
        _, key, at, tokens, one, usage = job
        first = time.monotonic()
        if "empty" in FAULTS:
            self.transport.write(HEAD + piece(b"data: [DONE]\n\n") + b"0\r\n\r\n")
            return self.end(key, at, first, first)
        if "error-in-stream" in FAULTS:
            self.transport.write(
                HEAD + one + piece(b'data: {"error": {"message": "the engine died"}}\n\n') + b"0\r\n\r\n"
            )
            return self.end(key, at, first, first)
        if "coarse" in FAULTS:
            many = json.dumps({"choices": [{"index": 0, "text": " aye" * tokens}]}).encode()
            self.transport.write(HEAD + piece(b"data: " + many + b"\n\n"))
            return self.rest(key, at, first, 0, one, usage)
        if not GAP:
            self.transport.write(HEAD + one * tokens + self.tail(usage))
            return self.end(key, at, first, first)
        self.transport.write(HEAD + one)
        self.rest(key, at, first, tokens - 1, one, usage)

    def rest(self, key, at, first, left, one, usage):
        if left:
            asyncio.get_running_loop().call_later(GAP, self.next, key, at, first, left, one, usage)
        else:
            last = time.monotonic()
            self.transport.write(self.tail(usage))
            self.end(key, at, first, last)

    def next(self, key, at, first, left, one, usage):
        self.transport.write(one)
        self.rest(key, at, first, left - 1, one, usage)

    def tail(self, usage):
        events = b""
        if "no-usage" not in FAULTS:
            events += piece(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
        if "no-done" not in FAULTS:
            events += piece(b"data: [DONE]\n\n")
        return events + b"0\r\n\r\n"

    def noted(self, key, at, first, last):
        TIMES[key] = [at, first, last, time.monotonic()]
        SUMS[0] += 1
        SUMS[1] += first - at
        SUMS[2] += time.monotonic() - at

    def end(self, key, at, first, last):
        self.noted(key, at, first, last)
        Server.busy -= 1
        self.answered += 1
        if self.answered >= int(FAULTS.get("close-after", 10**9)):
            self.transport.close()
        self.admit()


async def main():
    tls = None
    if option("--tls", ""):
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(option("--tls", ""))
    server = await asyncio.get_running_loop().create_server(
        Server, "127.0.0.1", option("--port", 0), backlog=4096, reuse_address=True, ssl=tls
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import gc

    gc.freeze()
    gc.disable()
    asyncio.run(main())
