"""Faults, played for real: gateways in processes of their own, a receiver that notes all that it hears, and figures
that must hold. `make chaos`; the page it writes is docs/proof/faults.md."""

FAMILIES = (
    *("killing", "power", "disks", "databases", "replicas"),
    *("inside", "vendors", "storms", "clocks", "files", "suite"),
)
"""The files that enter faults."""
