"""Is a target's stack sound before anything is served: versions, plugins, files, ports, limits, devices, disk.

`doctor(...)` asks the interpreter and the machine and gives a `DoctorReport`. Each of the other files is one subject:
a function from facts to a `Check`. Nothing is changed, and no process is ended.
"""

from seatrial.support.doctor.records import Check, DoctorReport
from seatrial.support.doctor.run import doctor

__all__ = ["Check", "DoctorReport", "doctor"]
