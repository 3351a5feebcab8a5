"""How a project tests its own operations: ``python -m pytest -c examples/testing/pytest.ini examples/testing``."""
