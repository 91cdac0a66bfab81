"""The main job: the only place that both runs steps and stores what they found.

`run_job(Job(...))` is the door; `job.py` has the records, `steps.py` the steps by name, `run.py` the order of things.
"""

from seatrial.workflow.job import STAGES, Ended, Finished, Job, Observer, Stage
from seatrial.workflow.run import run_job

__all__ = ["STAGES", "Ended", "Finished", "Job", "Observer", "Stage", "run_job"]
