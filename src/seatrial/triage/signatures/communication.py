"""Collectives, links between ranks and hosts, ports, KV transfer between prefill and decode."""

from __future__ import annotations

from seatrial.triage.signature import Signature
from seatrial.triage.signatures._make import LITERAL, SHAPE, WEAK, root

H = "hccl-communication"
PD = "kv-transfer-pd"
LINK = "hccn_tool -i N -link -g and -ping; the same HCCL_SOCKET_IFNAME, HCCL_IF_IP and CANN on all nodes; raise HCCL_CONNECT_TIMEOUT only when a rank is merely slow."
SIGNATURES: tuple[Signature, ...] = (
    root("port.hccl", "port-bind", r"\bEJ0003\b|Communication_Error_Bind_IP_Port|listen on ip ?\[.{1,60}\] and specific port ?\[.{1,20}\] fail|[Ff]ailed to bind (?:the )?(?:IP )?port|socket bind.{0,60}(?:fail|in use)", LITERAL,
         "HCCL's own listening port (60000 upwards by default) is taken: a second model on the host, or a stale process.", "End your own stale processes (`ss -ltnp`); give each model its own HCCL_IF_BASE_PORT; reserve the range with net.ipv4.ip_local_reserved_ports.", sources=("A60", "A63"),
         matches=("[PID: 9] 2025-07-22 Communication_Error_Bind_IP_Port(EJ0003): Failed to bind the IP port. Reason: The IP address and port have been bound already.",)),
    root("port.in-use", "port-bind", r"[Aa]ddress already in use|EADDRINUSE|\[Errno 98\]|\[errno 98\]|[Pp]ort \d{2,5} (?:is )?(?:already )?(?:in use|occupied|not available|used)|port .{0,20}already in use|[Cc]annot assign requested address|\[Errno 99\]|Permission denied.{0,40}bind|"
         r"Fail to listen \S{1,60}:\d|server socket has failed to (?:listen|bind)|Failed to (?:listen|bind|start).{0,80}(?:port|address)", LITERAL,
         "Another process listens on the port, or the address is not of this host.", "`ss -ltnp | grep PORT`; end your own old server, or choose another --port.", sources=("A85",), raised=r"\w{1,80}|",
         unless=r"[Hh]and ?shake",
         matches=("OSError: [Errno 98] Address already in use", "zmq.error.ZMQError: Address already in use (addr='tcp://10.0.0.1:5600')")),
    root("hccl.code", H, r"\bEI\d{4}\b|\bEJ000[12]\b|initialize the HCCP process|status == HCCL_SUCCESS|HCCL get root info|[Hh]ccl(?:Comm\w{0,30}|All[Rr]educe|All[Gg]ather|All[Tt]o[Aa]ll\w{0,10}|Broadcast|Reduce[Ss]catter|Send|Recv|Barrier)\W.{0,120}(?:fail|error)|HCCL(?: function)? error|[Tt]ransport init error|[Gg]etting socket times out|"
         r"HCCL_?\w{0,30}.{0,60}(?:time ?out|timed out)|wait socket establish|Notify_?Wait|notify wait timeout|create_?link|[Ll]ink.?(?:establish|setup).{0,40}(?:fail|time)|Failed to load HCCL library|ranktable|rank_table.{0,80}(?:invalid|fail|error)|"
         r"setting up \wCCL communicator and retrieving|(?:fail|error|time ?out).{0,300}\n\[HCCL\]|ProcessGroupHCCL|HcclCommInitRootInfo\w{0,20}|hccl_?result|hccp.{0,40}fail|P2P.{0,40}communication.{0,40}fail|RDMA.{0,60}(?:fail|error)|\b(?:RoCE|roce)\b.{0,40}(?:fail|down)", LITERAL,
         "The ranks could not build or keep their links: network interface, firewall, a rank that never came, or different CANN versions.", LINK, yields="peer", sources=("A61", "A62", "A64", "A08"), raised=r"\w{1,80}|",
         unless=r"^\s{0,8}export|EI0009.{0,20}help|107030",
         matches=("F20251111 12:28:58.504206 214989 collective_service.cpp:37] Check failed: status == HCCL_SUCCESS (1 vs. 0) HCCL get root info failed.", 'EJ0001: [PID: 1] 2025-11-03 Failed to initialize the HCCP process. Reason: Maybe the last training process is running.', "[PID: 1] 2025-05-01 EI0006: Getting socket times out. Reason: Remote Rank did not send the data in time.", "RuntimeError: HCCL function error: HcclCommInitRootInfo, error code is 6")),
    root("hccl.library-line", H, r"^\[(?:XCCL|BKCL|HCCL|LCCL|NCCL|MCCL|ECCL)\](?:\[[^\]]{1,60}\]){0,3} .{0,200}(?:fail|not properly set|error|time ?out|timed out|invalid|mismatch)", LITERAL,
         "The collective library itself refused to build its links (topology, address windows, driver).", "Run a two-rank all_reduce alone to confirm; compare driver, runtime and library versions with the plugin's table; on Kunlun see BKCL_CHECK_AW and the driver's address windows.",
         sources=("vLLM-Kunlun#382", "vLLM-Kunlun#420"), anchor="-", unless=r"INFO",
         matches=("[XCCL][init.cpp:1275] host 10.0.0.2 addr_window check failed",)),
    root("hccl.gloo", H, r"[Gg]loo .{0,80}(?:timed out|timeout|fail|connect)|gloo/transport/tcp/\w{1,20}\.cc|connectFullMesh failed|Timed out waiting \d{1,9}ms|DistStoreError|DistNetworkError|DistBackendError|TCPStore.{0,80}(?:timed out|timeout|fail|connect)|"
         r"Unable to find address for|[Ff]ailed to connect to GCS|waiting for GCS to become available|NCCL (?:error|WARN)|ncclUnhandledCudaError|ncclSystemError|ncclRemoteError|client socket has (?:timed out|failed)|makeDeviceForHostname|[Ss]ocket [Tt]imeout|bkcl.{0,60}(?:fail|error)|XCCL.{0,40}(?:fail|error)|"
         r"RayChannelTimeoutError|Failed to connect to .{0,60}(?:master|rank|leader)|rendezvous.{0,60}(?:time|fail|error)", SHAPE,
         "The ranks could not reach each other while the process group was built or used.", "Same GLOO_SOCKET_IFNAME/TP_SOCKET_IFNAME on all nodes, master address and port reachable, all ranks started.", yields="peer", raised=r"\w{1,80}|", unless=r"(?:closed|reset) by peer|Broken pipe|recvBytes|sendBytes|op\.preamble",
         matches=('[2026-01-06 08:11:02,100 C 1 1] gcs_client.cc:70: Failed to connect to GCS at address 10.0.0.1:41000 with 5 seconds.', "torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to connect to (10.0.0.1, 29500).",)),
    root("collective.shape", "collective-mismatch", r"assert .{0,60}(?:shape\[\w{1,6}\]|size\(\w{1,6}\)) % (?:self\.)?world_size == 0|op\.preamble\.length <= op\.nbytes|(?:output|input) tensor size must be equal to .{0,40}world_?size|"
         r"[Ss]ize mismatch.{0,60}(?:all_?gather|reduce_?scatter|all_?to_?all|collective)|(?:all_?gather|reduce_?scatter|all_?to_?all\w{0,10}|allreduce|collective).{0,100}(?:mismatch|inconsistent|must be divisible|not divisible|same (?:size|shape)|size does not|Split sizes|different)|"
         r"Split sizes doesn't match|invalid tensor size at index|[Tt]ensors must have (?:the )?same size in|tensor sizes? .{0,40}(?:across|between|on) (?:all )?ranks|Detected mismatch between collectives|collectives? .{0,40}(?:out of (?:order|sync)|mismatch)|EI0005|ranks? .{0,60}different (?:shape|size|number|count)", LITERAL,
         "Ranks call a collective with sizes that do not fit together.", "Print the token count per rank at that call: padding for sequence parallelism, DP dummy batches and draft batches must agree.", raised=r"\w{1,80}|",
         matches=('  File "x/base_device_communicator.py", line 234, in reduce_scatter\n    assert input_tensor.shape[0] % world_size == 0\n' "AssertionError",
                  "RuntimeError: [enforce fail at gloo/transport/tcp/pair.cc:446] op.preamble.length <= op.nbytes. 8 vs 4")),
    root("collective.assert", "collective-mismatch", r"AssertionError", SHAPE, "A collective was called with sizes that do not fit the group.", "Print token counts and shapes per rank at that call.",
         raised=r"AssertionError", innermost=r"device_communicator|_communicator\.py|:(?:all_gather\w{0,3}|reduce_scatter\w{0,3}|all_to_all\w{0,10}|gather)$",
         not_in=r"eplb", matches=('  File "/x/vllm/distributed/device_communicators/cuda_communicator.py", line 320, in all_gatherv\n    assert dist_group.world_size == len(sizes)\n' "AssertionError",)),
    root("collective.place", "collective-mismatch", r"AssertionError|RuntimeError|ValueError", WEAK, "A collective was called with tensors that do not fit.", "Print shapes per rank at that call.",
         innermost=r"device_communicator|:(?:all_gather|reduce_scatter|all_to_all|all_reduce|gather)\w{0,12}$|distributed_c10d|communication_op", unless=r"out of memory|HCCL|hccl|NCCL|connect|timeout|timed out",
         matches=('  File "x/base_device_communicator.py", line 234, in all_gather\n    x\n' "RuntimeError: shape mismatch",)),
    root("pd.mooncake", PD, r"[Mm]ooncake.{0,120}(?:fail|error|not support|timeout|Error|invalid)|\b10390\d\b|ascend_direct_transport\.cpp.{0,20}|[Tt]ransfer (?:slice |timeout to|failed for key)|TRANSFER_FAIL|[Tt]ransfer [Ee]ngine.{0,40}(?:fail|error)|Transfer slice failed|(?:register|link|pull|push)\w{0,4} kv[ _]?caches? (?:fail|error)|Failed to mount segment|Failed to register memory with|\b(?:master_client|store_py|transfer_engine\w{0,10}|client_service)\.cpp:\d|Failed to transfer KV|KV (?:cache )?(?:transfer|load|pull|send|recv)\w{0,6}.{0,60}(?:fail|error|timeout|timed out)|"
         r"kv_?connector.{0,80}(?:not support|unknown|Unsupported|invalid|must|fail|does not|is required)|Unsupported connector type|KV transfer .{1,60} config has a conflicting|llm_?datadist|LLMDataDist.{0,60}|[Nn]ixl\w{0,20}.{0,60}(?:fail|error|Error|not available)|NIXL_ERR\w{0,30}|kv_(?:port|rank|role|parallel_size|producer|consumer).{0,80}(?:must|not|invalid|error|should|fail)|"
         r"disaggregat\w{0,10}.{0,80}(?:fail|error|not support|timeout)|[Hh]and ?shake.{0,60}(?:fail|error|timeout|mismatch)|[Pp]refill (?:node|instance|server).{0,60}(?:fail|time|not)|engine_id.{0,60}(?:not|mismatch)|link_cluster|remote_(?:engine_id|block_ids|host).{0,60}(?:None|missing|not|error)|AscendStore\w{0,20}.{0,80}(?:fail|error)|lmcache.{0,60}(?:fail|error)", LITERAL,
         "KV cache transfer between prefill and decode failed: connection, port, role or layout.", "Check that both sides see each other's kv_port and device IPs (hccn_tool), use the same block size and TP rule, and match mooncake/CANN to the plugin's guide; raise ASCEND_CONNECT_TIMEOUT/ASCEND_TRANSFER_TIMEOUT.", sources=("A51", "vllm-ascend#5635"), raised=r"\w{1,80}|",
         unless=r"No module named|cannot import|\.so\b|has no attribute|Address already in use|^\s{0,8}export|in use",
         matches=('E0417 19:46:42.567027   481 master_client.cpp:192] Failed to mount segment due to rpc error', "E20260106 06:43:02.966156  5793 ascend_direct_transport.cpp:820] Failed to connect to target: 172.17.0.16:25482, status: 103900",
                  "RuntimeError: Mooncake transfer failed, ret: -1")),
    root("pd.place", PD, r"Error", SHAPE, "The failure was raised in the KV transfer code.", "Serve without --kv-transfer-config to confirm; then compare roles, block size and TP of both sides.",
         innermost=r"kv_transfer|kv_p2p|kv_pool|mooncake|llmdatadist|nixl|disaggregation|/kv_connector|cpu_offload|recompute_scheduler", unless=r"No module named|cannot import|\.so\b|in use|module '[\w.]{1,60}' has no attribute|abstract|unexpected keyword|required positional|out of memory",
         matches=('  File "/w/vllm_ascend/distributed/kv_transfer/kv_p2p/mooncake_connector.py", line 1, in start_load_kv\n    x\n' "KeyError: 'req-1'",)),
    root("pd.proxy", PD, r"(?:proxy|load_balance_proxy|toy_proxy)\w{0,30}.{0,120}(?:[Ee]rror|[Ff]ailed|refused)|Error .{0,60}(?:prefiller|decoder|prefill|decode) (?:server|client|request)", SHAPE, "The proxy in front of prefill and decode failed.", "curl each instance's /health from the proxy's host.", raised=r"\w{1,80}|",
         matches=("ERROR 09-01 10:00:00 [load_balance_proxy_server.py:1] Error in proxy: httpx.ConnectError",)),
)  # fmt: skip
