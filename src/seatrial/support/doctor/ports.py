"""Ports: the API's, the ranges that HCCL and Mooncake take on Ascend, against who listens and what is reserved.

Figures: HCCL takes 16 ports of the host from HCCL_IF_BASE_PORT, 60000 by default, and asks that they be reserved
(hiascend.com, CANN commercial 8.0, envref_07_0074); HCCL_HOST_SOCKET_PORT_RANGE goes before it (8.5, envref_07_0143);
on each NPU port 16666 by default (CANN 9.0, envref_07_0144). Mooncake's AscendDirectTransport takes ports at random
from 20000 to 20000 + 1000 per NPU (vllm-project/vllm-ascend#6455), 100 per NPU in newer ones (#14263).
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping

from seatrial.core.finding import Finding, Severity
from seatrial.support.doctor.host import LAST_PORT, HostFacts, Listener, port_ranges
from seatrial.support.doctor.records import Check, checked, could_not_look, does_not_apply, finding
from seatrial.support.doctor.sizes import sizes_of
from seatrial.targets import Target

HCCL_BASE, HCCL_COUNT = 60000, 16
KV_PORT = 14579  # vLLM 0.32, config/kv_transfer.py
MOONCAKE_BASE, MOONCAKE_PER_DEVICE = 20000, 1000
ANY = {"0.0.0.0", "::", ""}  # noqa: S104 - compared with


def api_port_check(target: Target, host: HostFacts) -> Check:
    """H020: somebody listens on the target's port already."""
    port = target.serve.port
    if port == 0:
        return does_not_apply("API port", "the target takes any free port")
    if host.listeners is None:
        return could_not_look("API port", "the system does not tell who listens")
    mine = target.serve.host
    names = {"127.0.0.1", "::1"} if mine == "localhost" else {mine}
    heard = [(x, x.address.removeprefix("::ffff:")) for x in host.listeners if x.port == port]
    taken = [x for x, address in heard if address in names or {address, mine} & ANY]
    there = [x for x, _ in heard]
    if there and not taken and mine != "localhost" and not _is_address(mine):
        # Asking the network for its address is not for a look at this machine.
        return could_not_look("API port", f"{mine} is a name, and {there[0].address}:{port} is taken{_by(there[0])}")
    found = []
    if taken:
        message = f"port {port} is taken{_by(taken[0])}"
        mend = "Stop that process if it is yours, or set serve.port of the target (0: any free port)."
        found.append(finding("H020", Severity.ERROR, f"{taken[0].address}:{port}", message, mend))
    return checked("API port", f"{mine}:{port} is {'taken' if taken else 'free'}", found)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def hccl_check(target: Target, host: HostFacts, env: Mapping[str, str]) -> Check:
    """H021 a port of HCCL's on the host is taken; H022 they are not reserved; H023 the setting is no port list."""
    if target.platform != "ascend":
        return does_not_apply("HCCL ports", f"HCCL is not used on {target.platform}")
    if env.get("HCCL_HOST_SOCKET_PORT_RANGE") == "auto":
        return does_not_apply("HCCL ports", "HCCL_HOST_SOCKET_PORT_RANGE=auto: the system hands them out")
    if host.listeners is None:
        return could_not_look("HCCL ports", "the system does not tell who listens")
    found: list[Finding] = []
    wanted, source = _hccl_ranges(env, found)
    taken = [x for x in host.listeners if any(low <= x.port <= high for low, high in wanted)]
    for listener in taken[:4]:
        message = f"port {listener.port}, one of HCCL's ({source}), is taken{_by(listener)}"
        mend = "Stop that process if it is yours, or set HCCL_IF_BASE_PORT in launch.env to 16 ports that are free."
        found.append(finding("H021", Severity.ERROR, f"{listener.address}:{listener.port}", message, mend))
    spans = ",".join(f"{low}-{high}" for low, high in wanted)
    blind = host.reserved_ports is None or host.ephemeral_ports is None
    exposed = [r for r in wanted if _within(r, host) and not _reserved(r, host)] if not blind else []
    if exposed:
        low, high = host.ephemeral_ports or (0, 0)
        message = f"{spans} lie in the range of outgoing connections ({low}-{high}) and are not reserved"
        mend = f"Run: sysctl -w net.ipv4.ip_local_reserved_ports={spans} (with what is reserved already)."
        found.append(finding("H022", Severity.WARNING, "net.ipv4.ip_local_reserved_ports", message, mend))
    seen = (
        f"host {spans} ({source}): {len(taken)} taken; each NPU's own port {_npu_ports(env)} cannot be seen from here"
    )
    if blind:
        seen += "; whether they are reserved is unknown (/proc/sys/net/ipv4 cannot be read)"
    return checked("HCCL ports", seen, found)


def _hccl_ranges(env: Mapping[str, str], found: list[Finding]) -> tuple[tuple[tuple[int, int], ...], str]:
    for name in ("HCCL_HOST_SOCKET_PORT_RANGE", "HCCL_IF_BASE_PORT"):
        text = env.get(name)
        if text is None:
            continue
        ranges = port_ranges(text)
        base = name == "HCCL_IF_BASE_PORT"
        if not ranges or (base and (ranges != ((ranges[0][0],) * 2,) or ranges[0][0] + HCCL_COUNT - 1 > LAST_PORT)):
            what = f"no port with {HCCL_COUNT - 1} after it" if base else "no list of ports"
            message = f"{name}={text!r} is {what}"
            example = "61000" if base else "61000-61050"
            mend = f"Set it like {example}, or unset it for {HCCL_BASE}-{HCCL_BASE + HCCL_COUNT - 1}."
            found.append(finding("H023", Severity.ERROR, name, message, mend))
        elif base:
            return ((ranges[0][0], ranges[0][0] + HCCL_COUNT - 1),), f"{name}={text}"
        else:
            return ranges, f"{name}={text}"
    return ((HCCL_BASE, HCCL_BASE + HCCL_COUNT - 1),), "HCCL's default"


def _npu_ports(env: Mapping[str, str]) -> str:
    return env.get("HCCL_NPU_SOCKET_PORT_RANGE", "16666 (default)")


def kv_transfer_check(target: Target, host: HostFacts) -> Check:
    """H024: the KV transfer's port is taken; H025: it lies where the transport takes ports at random."""
    args = target.serve.args
    parts = {name.partition(".")[2]: value for name, value in args.items() if name.startswith("kv-transfer-config.")}
    if "kv-transfer-config" not in args and not parts:
        return does_not_apply("KV transfer ports", "the target sets no kv-transfer-config")
    try:
        config = {**json.loads(str(args.get("kv-transfer-config", "{}"))), **parts}
        port = int(config.get("kv_port", KV_PORT))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return could_not_look("KV transfer ports", "kv-transfer-config has no kv_port that could be read")
    if not 0 < port <= LAST_PORT:
        message = f"kv_port {port} is no port"
        bad = finding("H024", Severity.ERROR, "serve.args: kv-transfer-config", message, f"Set one up to {LAST_PORT}.")
        return checked("KV transfer ports", message, [bad])
    if host.listeners is None:
        return could_not_look("KV transfer ports", "the system does not tell who listens")
    found: list[Finding] = []
    ranks = int(target.serve.args.get("tensor-parallel-size", 1)) * int(target.serve.args.get("data-parallel-size", 1))
    for listener in host.listeners:
        if port <= listener.port < port + ranks:
            message = f"port {listener.port} of kv_port {port} + {ranks} ranks is taken{_by(listener)}"
            mend = "Set another kv_port in kv-transfer-config."
            found.append(finding("H024", Severity.ERROR, f"{listener.address}:{listener.port}", message, mend))
    # As many as this target takes there are at least, where their number is not known.
    devices = max(int(target.devices.count.value or 0), sizes_of(target).devices)
    end = MOONCAKE_BASE + MOONCAKE_PER_DEVICE * devices
    mooncake = target.platform == "ascend" and "ooncake" in str(config.get("kv_connector", ""))
    if mooncake and port < end and port + ranks > MOONCAKE_BASE:
        message = f"kv_port {port} lies in {MOONCAKE_BASE}-{end - 1}, where Mooncake's transport may take ports"
        mend = f"Set kv_port to {end} or more (vllm-ascend#6455; newer Mooncakes take 100 a device, #14263)."
        found.append(finding("H025", Severity.WARNING, "serve.args: kv-transfer-config", message, mend))
    return checked("KV transfer ports", f"kv_port {port} for {ranks} ranks", found)


def _within(span: tuple[int, int], host: HostFacts) -> bool:
    if host.ephemeral_ports is None:
        return False
    low, high = host.ephemeral_ports
    return span[0] <= high and span[1] >= low


def _reserved(span: tuple[int, int], host: HostFacts) -> bool:
    ranges = host.reserved_ports or ()
    return all(any(low <= port <= high for low, high in ranges) for port in range(span[0], span[1] + 1))


def _by(listener: Listener) -> str:
    if listener.pid is None:
        return " (the system does not say by whom)"
    return f" by process {listener.pid} ({listener.name or 'no name'})"
