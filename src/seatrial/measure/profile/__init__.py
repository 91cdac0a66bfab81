"""What a profile says, in seconds, for every rank. `open_traces` reads files, `analyse` makes the report.

Readers fill one event model (`events`, int64 nanoseconds); everything behind it knows no file format. Needs the extra
`profile`: call `extra.require` before the first import of anything else here.
"""
