#!/usr/bin/env python
"""Django's command line for the demo site."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    # Run as a file, Python looks for modules beside it, where celery.py would stand in for Celery itself.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
