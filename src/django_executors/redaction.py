"""Keeps secrets out of stored texts."""

from __future__ import annotations

import re

from .conf import settings

__all__ = ["redact"]

_URL_PASSWORD = re.compile(r"(?P<head>(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}://[^/\s:@]+:)[^@\s/]+(?=@)", re.IGNORECASE)
_HEADERS = re.compile(
    r"(?P<head>(x-auth-token|x-subject-token|authorization|set-cookie|cookie)[\"']?\s*[:=]\s*[\"']?)"
    r"(?P<value>(bearer|basic)?\s*[^\s\"',;}]+)",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Blank passwords in URLs, authentication headers and values of the names in ``EXECUTORS["REDACT"]``.

    Takes a time in proportion to the text, whatever the cloud put into it.
    """
    text = _URL_PASSWORD.sub(r"\g<head>***", text)
    text = _HEADERS.sub(r"\g<head>***", text)
    names = "|".join(re.escape(name) for name in settings.REDACT)
    if names:
        pattern = (
            rf"(?P<head>[\"']?(?<![\w-])[\w-]*?({names})[\"']?\s*[:=]\s*)(?P<value>\"[^\"]*\"|'[^']*'|[^\s,;)}}\]]+)"
        )
        text = re.sub(pattern, r"\g<head>***", text, flags=re.IGNORECASE)
    return text
