"""A bare HTTP client: these tests look at statuses, headers and bodies that an SDK would hide."""

import http.client
import json
from dataclasses import dataclass, field
from typing import Any

from openstack_simulator import Simulator


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Api:
    """One user's client; services are called by their short names."""

    simulator: Simulator
    user: str = "demo"
    project: str | None = None
    password: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    project_id: str = ""

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection(self.simulator.host, self.simulator.port, timeout=10)
        self.log_in()

    def log_in(self) -> None:
        password = {"user": {"name": self.user, "password": self.password or self.user, "domain": {"id": "default"}}}
        scope = {"project": {"name": self.project or self.user, "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": password}
        answer = self.call("POST", "/identity/v3/auth/tokens", {"auth": {"identity": identity, "scope": scope}})
        assert answer.status == 201, answer.text
        self.headers["X-Auth-Token"] = answer.headers["x-subject-token"]
        self.project_id = answer.json["token"]["project"]["id"]

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        content = None if body is None else json.dumps(body)
        self.connection.request(method, path, content, {"Content-Type": "application/json"} | self.headers | sent)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)

    def compute(self, method: str, path: str, body: Any = None, version: str = "2.96") -> Answer:
        return self.call(method, f"/compute/v2.1{path}", body, OpenStack_API_Version=f"compute {version}")

    def volume(self, method: str, path: str, body: Any = None, version: str = "3.70") -> Answer:
        url = f"/volume/v3/{self.project_id}{path}"
        return self.call(method, url, body, OpenStack_API_Version=f"volume {version}")

    def network(self, method: str, path: str, body: Any = None) -> Answer:
        return self.call(method, f"/network/v2.0{path}", body)

    def identity(self, method: str, path: str, body: Any = None) -> Answer:
        return self.call(method, f"/identity/v3{path}", body)

    def network_named(self, name: str) -> str:
        return str(self.network("GET", f"/networks?name={name}").json["networks"][0]["id"])

    def make_volume(self, size: int = 1, **values: Any) -> str:
        answer = self.volume("POST", "/volumes", {"volume": {"size": size, **values}})
        assert answer.status == 202, answer.text
        return str(answer.json["volume"]["id"])

    def make_port(self, **values: Any) -> str:
        body = {"port": {"network_id": self.network_named("private"), **values}}
        answer = self.network("POST", "/ports", body)
        assert answer.status == 201, answer.text
        return str(answer.json["port"]["id"])

    def ask_for_server(self, name: str = "web-1", **values: Any) -> Answer:
        image = next(iter(self.simulator.cloud.images)).id
        body = {
            "name": name,
            "flavorRef": "1",
            "imageRef": image,
            "networks": [{"uuid": self.network_named("private")}],
        }
        return self.compute("POST", "/servers", {"server": body | values})

    def make_server(self, name: str = "web-1", **values: Any) -> str:
        answer = self.ask_for_server(name, **values)
        assert answer.status == 202, answer.text
        return str(answer.json["server"]["id"])

    def act(self, server_id: str, action: str, values: Any = None) -> Answer:
        return self.compute("POST", f"/servers/{server_id}/action", {action: values})

    def server(self, server_id: str) -> Any:
        return self.compute("GET", f"/servers/{server_id}").json["server"]
