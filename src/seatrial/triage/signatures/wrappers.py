"""Lines that only say that something below failed. They never close a triage."""

from __future__ import annotations

from seatrial.triage.signature import Kind, Signature
from seatrial.triage.signatures._make import other

W = Kind.WRAPPER
SIGNATURES: tuple[Signature, ...] = (
    other(W, "wrapper.engine-core-init", r"Engine core initialization failed|EngineCore failed to start",
          "A child process failed while it started; its own traceback stands above.",
          matches=("RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
                   "(EngineCore_DP0 pid=7) ERROR 05-12 10:20:43 [core.py:843] EngineCore failed to start.")),
    other(W, "wrapper.engine-dead", r"EngineDeadError|EngineCore encountered (?:an issue|a fatal error)|AsyncEngineDeadError|"
          r"Background loop (?:has errored already|is stopped)|AsyncLLM output_handler failed",
          "The engine died during serving; the worker's traceback stands above.",
          matches=("vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) "
                   "for the root cause.",)),
    other(W, "wrapper.worker-init", r"WorkerProc initialization failed due to an exception|WorkerProc failed to start|"
          r"WorkerProc hit an exception",
          "A worker failed; its traceback follows or stands above.",
          matches=("Exception: WorkerProc initialization failed due to an exception in a background process. See stack "
                   "trace for root cause.",)),
    other(W, "wrapper.worker-died", r"(?:Worker proc|RayWorkerProc rank=|Engine core proc(?:ess)?) ?\S{1,60} died unexpectedly|"
          r"Process \S{1,60} \(PID: \d{1,9}\) died with exit code|^RuntimeError: cancelled$|^Exception: cancelled$",
          "A child process is gone; its exit code, or its own log, says why.",
          matches=("(EngineCore pid=24140) ERROR 11-20 14:26:05 [multiproc_executor.py:315] Worker proc VllmWorker-1 died "
                   "unexpectedly (exit code: -11), shutting down executor.",
                   "RuntimeError: Process ApiServer_1 (PID: 3786) died with exit code None")),
    other(W, "wrapper.ray-worker-died", r"A worker died or was killed while executing a task by an unexpected system error|"
          r"The actor is dead because its worker process has died|Worker exit type: SYSTEM_ERROR",
          "Ray reports that a worker is gone; the reasons it lists are guesses.",
          "Read that worker's own log in /tmp/ray/session_latest/logs (worker-*.err by its pid) and `dmesg | tail -200`.",
          matches=("(raylet) A worker died or was killed while executing a task by an unexpected system error. To troubleshoot "
                   "the problem, check the logs for the dead worker. Worker PID: 123 Worker exit type: SYSTEM_ERROR (1) The process "
                   "is killed by SIGKILL by OOM killer due to high memory usage.",)),
    other(W, "wrapper.worker-failed-with", r"Worker failed with error|NPUModelRunner init failed, error is|NPUModelRunner failed, error is",
          "The executor repeats a worker's error; what stands between the quotes is the cause.",
          matches=("RuntimeError: Worker failed with error 'x', please check the stack trace above for the root cause",)),
    other(W, "wrapper.inspect", r"failed to be inspected\. Please check the logs|Error in inspecting model architecture|"
          r"Error raised in subprocess:|subprocess\.CalledProcessError: Command .{1,200} returned non-zero exit status",
          "Importing the model's module failed in a subprocess; that traceback is the cause.",
          matches=("  Value error, Model architectures ['Qwen3NextForCausalLM'] failed to be inspected. Please check the "
                   "logs for more details. [type=value_error]",)),
    other(W, "wrapper.state-dict-head", r"Error\(s\) in loading state_dict for ", "The lines below name the tensors.",
          matches=("RuntimeError: Error(s) in loading state_dict for Foo:",)),
    other(W, "wrapper.pydantic-head", r"ValidationError: \d{1,3} validation errors? for ",
          "The head of a pydantic error; the next line says what is wrong.",
          matches=("pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",)),
    other(W, "wrapper.err99999", r"ERR99999 UNKNOWN applica\w{2,6} exception",
          "torch_npu appends this to nearly every failure; it says nothing.",
          matches=("[ERROR] 2025-10-24-12:07:28 (PID:1532, Device:-1, RankID:-1) ERR99999 UNKNOWN applicaiton exception",)),
    other(W, "wrapper.pta-acl-api", r"ERR00100 PTA call acl api failed|ERR01\d{3} OPS|ERR02200 DIST call hccl api failed",
          "torch_npu's generic wrapper around a failed runtime call.",
          matches=("[ERROR] 2025-03-02-06:51:13 (PID:1, Device:0, RankID:0) ERR00100 PTA call acl api failed.",)),
    other(W, "wrapper.cann-inner", r"\bE[A-Z]\d{4}: Inner Error!?\s*$|^E[EZ]9999: Inner Error|rectify the fault based on the",
          "CANN's inner error; the text after the code, or the next line, is the cause.",
          matches=("[rank0]: RuntimeError: EZ9999: Inner Error!",)),
    other(W, "wrapper.launch-blocking", r"ASCEND_LAUNCH_BLOCKING=1",
          "Advice: the stack is that of a later call, because kernels run asynchronously.",
          matches=("Since the operator is called asynchronously, the stacktrace may be inaccurate. If you want to get the "
                   "accurate stacktrace, please set the environment variable ASCEND_LAUNCH_BLOCKING=1.",)),
    other(W, "wrapper.api-server", r"Exception in ASGI application|^SystemExit: |^KeyboardInterrupt$|Error in API server|"
          r"^torch\.multiprocessing\.spawn\.Process\w{1,20}Exception|ChildFailedError|^CancelledError",
          "An outer layer reports that an inner one failed.",
          matches=("(APIServer pid=1) ERROR: Exception in ASGI application",)),
    other(W, "wrapper.sglang-scheduler", r"Scheduler hit an exception:|Rank \d{1,4} scheduler is dead|Received sigquit from a child process|"
          r"Initialization failed\. Please see the error messages above|scheduler died during initialization",
          "SGLang's parent reports that a scheduler process failed.",
          matches=("[2025-12-31 03:31:49] Received sigquit from a child process. It usually means the child failed.",)),
)  # fmt: skip
