"""What spoolbridge does in figures, beside others that do the same: `python -m tests.bench`.

One module a measurement, with a function `measure(scale)` that gives a `table.Table`; `scale` is the share of
the work to do: 1 for the figures that are quoted, less for a look. `__main__` names them, runs and prints.
"""

from __future__ import annotations
