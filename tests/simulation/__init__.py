"""Deterministic simulation of the engine: one process, one seed, a clock that moves only when the schedule says so.

The engine's own code runs unmodified on real transactions. What surrounds it is simulated: the broker (`broker`), the cloud
(`cloud`), time (`virtual_time`), and worker processes as threads of which exactly one runs at a time (`actors`). A schedule
is a list of moves (`moves`); after each commit all promises are checked (`invariants`). A schedule that breaks one is
reduced to the moves that matter (`shrinking`). `mutants` holds bugs that the simulation has to find.

``python -m tests.simulation --schedules 5000 --seed 1`` runs more of it than the tests do.
"""
