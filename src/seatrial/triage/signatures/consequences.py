"""What follows in other processes when one has failed."""

from __future__ import annotations

from seatrial.triage.signature import Kind, Signature
from seatrial.triage.signatures._make import other

C = Kind.CONSEQUENCE
SIGNATURES: tuple[Signature, ...] = (
    other(C, "consequence.shm-broadcast", r"No available shared memory broadcast block found in \d{1,5} second",
          "Somebody waits for a worker that compiles, captures, hangs or is dead.", "Find what the worker did last (py-spy dump).",
          matches=("INFO 10-11 11:46:58 [shm_broadcast.py:466] No available shared memory broadcast block found in 60 seconds.",)),
    other(C, "consequence.rpc-timeout", r"TimeoutError: RPC call to \S{1,60} timed out|Timeout waiting for worker|"
          r"sample_tokens timed out|Waiting for \d{1,4} (?:local|remote).{0,60}core engine",
          "The engine waited for a worker that does not answer.", "py-spy dump of the worker; plog of its device.",
          matches=("TimeoutError: RPC call to sample_tokens timed out.",)),
    other(C, "consequence.peer-closed", r"Connection closed by peer|Connection reset by peer|Broken pipe|recvBytes failed|"
          r"failed to recv, got 0 bytes|sendBytes failed",
          "A peer process went away first.", "Read the log of the process that went first.",
          matches=("RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.1]:41241",)),
    other(C, "consequence.engine-silent", r"Timed out waiting for engines? to send initial message|TBE Subprocess.{0,60}main process disappeared|Engine process .{0,40}did not (?:start|respond)",
          "The parent waited for a child that did not come, or a helper lost its parent.", "Read the child's own log.",
          matches=("TimeoutError: Timed out waiting for engines to send initial message on input socket.", "[ERROR] TBE Subprocess[task_distribute] raise error[], main process disappeared!")),
    other(C, "consequence.capture-broken", r"\b(?:107030|507034|507901|507903)\b",
          "A capture or stream that an earlier failure has already broken.", "Look for the first failing operator above it.",
          matches=("error code is 107030",)),
    other(C, "consequence.device-lost", r"task exception|rtKernelLaunch.{0,40}failed|[Aa]clrtSynchronize\w{1,40}.{0,60}error code is 5070\d\d|\b50704[678]\b",
          "The device's queue reports an earlier failure at the next synchronisation.", "The first E-code in plog names the kernel.",
          matches=("aclrtSynchronizeStreamWithTimeout(copy_stream), error code is 507035",)),
    other(C, "consequence.http-error", r'" 500 Internal Server Error|" 503 Service Unavailable',
          "A client saw the failure.", matches=('INFO:     127.0.0.1:53204 - "POST /v1/chat/completions HTTP/1.1" 500 Internal Server Error',)),
)  # fmt: skip
