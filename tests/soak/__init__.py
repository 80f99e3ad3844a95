"""The thousandth day: a town's traffic and everybody's troubles, a day in minutes, everything accounted for.

`python -m tests.soak` runs the whole service (`service.run`) on the virtual loop of `tests.support.warp`, in
one process with the emulator, on real files. `clocks` makes one time of the loop's, the process's and the
files'; `disk` is full or dies on demand; `world` is who is there; `town` writes, reads and answers; `weather`
makes the trouble; `ledger` knows what was handed over and what came of it, `gauges` what it costs; `run`
joins them.
"""
