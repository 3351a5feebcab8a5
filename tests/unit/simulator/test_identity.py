import pytest

from tests.unit.simulator.api import Api


def log_in(api: Api, identity: dict, scope: object = None):
    auth = {"identity": identity} | ({"scope": scope} if scope else {})
    return api.call("POST", "/identity/v3/auth/tokens", {"auth": auth}, X_Auth_Token="")


@pytest.mark.parametrize("token", ["", "nonsense"])
@pytest.mark.parametrize(
    "path",
    [
        "/compute/v2.1/servers",
        "/network/v2.0/ports",
        "/image/v2/images",
        "/identity/v3/projects",
        "/volume/v3/x/volumes",
    ],
)
def test_without_a_good_token_every_service_answers_401(demo, token, path):
    answer = demo.call("GET", path, X_Auth_Token=token)
    assert answer.status == 401
    assert answer.json["error"]["message"] == "The request you have made requires authentication."
    assert answer.headers["www-authenticate"].startswith("Keystone uri=")


def test_a_token_lives_an_hour_of_the_clouds_time(simulator, demo):
    simulator.clock.advance(3599)
    assert demo.compute("GET", "/servers").status == 200
    simulator.clock.advance(1)
    assert demo.compute("GET", "/servers").status == 401
    demo.log_in()
    assert demo.compute("GET", "/servers").status == 200


def test_a_wrong_password_an_unknown_user_and_a_foreign_project_all_look_alike(demo):
    def attempt(name: str, password: str, project: str) -> tuple[int, str]:
        domain = {"id": "default"}
        user = {"name": name, "password": password, "domain": domain}
        answer = log_in(
            demo,
            {"methods": ["password"], "password": {"user": user}},
            {"project": {"name": project, "domain": domain}},
        )
        return answer.status, answer.json["error"]["message"]

    assert {attempt("demo", "wrong", "demo"), attempt("nobody", "x", "demo"), attempt("demo", "demo", "admin")} == {
        (401, "The request you have made requires authentication.")
    }


def test_a_token_can_be_shown_checked_and_ended(demo):
    token = demo.headers["X-Auth-Token"]
    shown = demo.call("GET", "/identity/v3/auth/tokens", X_Subject_Token=token)
    assert shown.json["token"]["user"]["name"] == "demo"
    assert {one["type"] for one in shown.json["token"]["catalog"]} >= {"compute", "network", "image", "volumev3"}
    assert demo.call("HEAD", "/identity/v3/auth/tokens", X_Subject_Token=token).status == 200
    assert demo.call("DELETE", "/identity/v3/auth/tokens", X_Subject_Token=token).status == 204
    assert demo.compute("GET", "/servers").status == 401


def test_a_token_got_from_a_token_ends_with_it(simulator, demo):
    first = demo.headers["X-Auth-Token"]
    simulator.clock.advance(1000)
    domain = {"id": "default"}
    answer = log_in(
        demo,
        {"methods": ["token"], "token": {"id": first}},
        {"project": {"name": "demo", "domain": domain}},
    )
    assert answer.status == 201
    shown = demo.call("GET", "/identity/v3/auth/tokens", X_Subject_Token=first)
    assert answer.json["token"]["expires_at"] == shown.json["token"]["expires_at"]


def test_an_application_credential_stands_for_its_user_in_its_project(simulator, demo):
    user_id = demo.call("GET", "/identity/v3/auth/tokens", X_Subject_Token=demo.headers["X-Auth-Token"]).json["token"][
        "user"
    ]["id"]
    made = demo.identity(
        "POST", f"/users/{user_id}/application_credentials", {"application_credential": {"name": "robot"}}
    )
    credential = made.json["application_credential"]
    secret = {"id": credential["id"], "secret": credential["secret"]}
    answer = log_in(demo, {"methods": ["application_credential"], "application_credential": secret})
    assert answer.status == 201
    assert answer.json["token"]["project"]["id"] == demo.project_id
    wrong = log_in(demo, {"methods": ["application_credential"], "application_credential": secret | {"secret": "x"}})
    assert wrong.status == 401


def test_a_changed_password_ends_the_users_tokens(demo, admin):
    user_id = admin.identity("GET", "/users?name=demo").json["users"][0]["id"]
    changed = admin.identity("PATCH", f"/users/{user_id}", {"user": {"password": "new"}})
    assert "password" not in changed.json["user"]
    assert demo.compute("GET", "/servers").status == 401
    demo.password = "new"
    demo.log_in()


def test_project_names_are_unique_and_404_says_what_is_missing(admin):
    assert admin.identity("POST", "/projects", {"project": {"name": "demo"}}).status == 409
    answer = admin.identity("GET", "/projects/nowhere")
    assert answer.json == {"error": {"code": 404, "message": "Could not find project: nowhere.", "title": "Not Found"}}


def test_a_role_can_be_given_checked_listed_and_taken_away(admin):
    user = admin.identity("GET", "/users?name=demo").json["users"][0]["id"]
    project = admin.identity("GET", "/projects?name=admin").json["projects"][0]["id"]
    role = admin.identity("POST", "/roles", {"role": {"name": "auditor"}}).json["role"]["id"]
    path = f"/projects/{project}/users/{user}/roles"
    assert admin.identity("HEAD", f"{path}/{role}").status == 404
    assert admin.identity("PUT", f"{path}/{role}").status == 204
    assert admin.identity("HEAD", f"{path}/{role}").status == 204
    assert [one["name"] for one in admin.identity("GET", path).json["roles"]] == ["auditor"]
    named = admin.identity("GET", f"/role_assignments?user.id={user}&include_names").json["role_assignments"]
    assert ("auditor", "admin") in {(one["role"]["name"], one["scope"]["project"]["name"]) for one in named}
    assert admin.identity("DELETE", f"{path}/{role}").status == 204
    assert admin.identity("GET", path).json["roles"] == []


def test_users_may_not_manage_identities(demo):
    assert demo.identity("GET", "/users").status == 403
    assert demo.identity("POST", "/projects", {"project": {"name": "x"}}).status == 403


def test_a_deleted_project_takes_its_tokens_with_it(simulator, demo, admin):
    assert admin.identity("DELETE", f"/projects/{demo.project_id}").status == 204
    assert demo.compute("GET", "/servers").status == 401
