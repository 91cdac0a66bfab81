"""A server of the OpenAI kind in a thread, for the ladder: it answers, refuses, falls silent or restarts as told."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StandIn:
    """`reply(prompt, number)` gives a text, None for HTTP 500; `born(number)` the process start time then.

    From question `silent_from` on it keeps every connection and answers nothing; if `closes`, it takes no new ones
    either, as a server does that is stopping. What else is asked once the question before was answered has no answer
    either, so that it does not matter when the silent question is read.
    """

    def __init__(self, reply, born=lambda number: 1.0, silent_from=1 << 30, closes=False):
        stand_in = self
        self.asked, self.counted = 0, threading.Condition()
        self.over = threading.Event()

        def silent(number):
            if number < silent_from:
                return False
            if closes:
                stand_in.server.socket.close()
            return stand_in.over.wait(3600)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if silent(stand_in.asked + 1):
                    return
                if self.path == "/v1/models":
                    self.send({"data": [{"id": "tiny"}]})
                elif self.path == "/metrics":
                    self.send(f"process_start_time_seconds {born(stand_in.asked)}\n".encode())
                else:
                    self.send({})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = body["messages"][0]["content"] if "messages" in body else body["prompt"]
                with stand_in.counted:
                    stand_in.asked += 1
                    stand_in.counted.notify_all()
                if silent(stand_in.asked):
                    return
                text = reply(prompt, stand_in.asked)
                if text is None:
                    self.send({"error": "gone"}, 500)
                    return
                limit = len(text.split()) > body["max_tokens"]
                message = {"message": {"content": text}} if "messages" in body else {"text": text}
                choice = {**message, "finish_reason": "length" if limit else "stop", "index": 0}
                self.send({"choices": [choice], "usage": {"completion_tokens": len(text.split())}})

            def send(self, document, status=200):
                data = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def was_asked(self, number):
        """Waits until that many questions were read (their sender may have given up by then)."""
        with self.counted:
            return self.counted.wait_for(lambda: self.asked >= number, 300) and self.asked == number

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
