"""Real workers, databases, brokers and a simulated cloud under fire; then everything that should hold is counted.

``python -m tests.chaos`` runs the three pairs of services one after another, ``--short`` a form of about two minutes.
"""
