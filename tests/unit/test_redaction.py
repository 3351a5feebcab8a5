"""No secret gets into a stored text."""

from __future__ import annotations

import pytest
from django.test import override_settings

from django_executors.redaction import redact

SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"amqp://guest:{SECRET}@broker:5672//",
        f"POSTGRES://user:{SECRET}@db/name",
        f"X-Auth-Token: {SECRET}",
        f"{{'X-Auth-Token': '{SECRET}', 'Accept': 'a/b'}}",
        f"authorization: Bearer {SECRET}",
        f"Authorization: Basic {SECRET}",
        f"Cookie: {SECRET}; path=/",
        f"password={SECRET}",
        f"password = '{SECRET}'",
        f'{{"password": "{SECRET} and more"}}',
        f"adminPass={SECRET} admin_pass={SECRET}".replace("adminPass", "admin_pass"),
        f"os_password={SECRET})",
        f"OS_PASSWORD: {SECRET}",
        f"call(api_key='{SECRET}', size=3)",
        f"client-secret={SECRET}",
        f"{{'auth_token': '{SECRET}'}}",
    ],
)
def test_a_secret_is_blanked(text: str) -> None:
    assert SECRET not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "volume data-1 is in error: no valid host was found",
        "https://cloud.example/v3/volumes?limit=3",
        "the password of the user is wrong",
        "HTTP 409: quota exceeded for cores: requested 4, used 10 of 10",
        "",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_what_stands_around_a_secret_stays() -> None:
    assert redact(f"login(user='joe', password='{SECRET}', cloud='a')") == "login(user='joe', password=***, cloud='a')"
    assert redact(f"amqp://guest:{SECRET}@broker/x") == "amqp://guest:***@broker/x"


def test_a_projects_own_names_are_blanked_too() -> None:
    with override_settings(EXECUTORS={"REDACT": ("pin",)}):
        assert redact("pin=1234, size=5") == "pin=***, size=5"
    with override_settings(EXECUTORS={"REDACT": ()}):
        assert redact("password=x") == "password=x"
