"""Verify a run without trusting its author: hashes first, then every verdict derived again from the raw evidence.

`verify_bundle` takes the folder of a run, a workspace, a delivery's bundle or an archive of one. Findings Y2xx.
"""

from seatrial.delivery.verify.bundle import Verification, Verified, verify_bundle

__all__ = ["Verification", "Verified", "verify_bundle"]
