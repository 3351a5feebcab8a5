"""The falcon application: all services under one address."""

import logging
from typing import Any

import falcon
from falcon.routing import CompiledRouter

from openstack_simulator import errors, versions
from openstack_simulator.block_storage import views as block_storage
from openstack_simulator.cloud import Cloud
from openstack_simulator.compute import views as compute
from openstack_simulator.errors import ApiError, BadRequest
from openstack_simulator.identity import views as identity
from openstack_simulator.image import views as image
from openstack_simulator.network import views as network
from openstack_simulator.placement import views as placement
from openstack_simulator.web import App, request_id_of

logger = logging.getLogger(__name__)


class Entrance:
    """Finds out who asks and in which microversion, before any view runs."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Check the token and the microversion.

        Raises:
            Unauthorized: There is no token, or it is unknown or expired.
            NotAcceptable: The service does not have the microversion.
        BadRequest: The URL names another project than the token does, which Cinder does not take.
        """
        service = versions.service_at(req.path)
        if getattr(resource, "public", False) or not service:
            return
        req.context.caller = self.cloud.identity.authenticate(req.get_header("X-Auth-Token"))
        req.context.version = versions.negotiate(service, req)
        versions.announce(service, req.context.version, resp)
        project_in_url = params.pop("project_in_url", None)
        if project_in_url is not None and project_in_url != req.context.caller.project_id:
            raise BadRequest("Malformed request url")


def build(cloud: Cloud, router: CompiledRouter) -> App:
    """Assemble all services over one cloud; their routes are put into ``router``."""
    app: App = falcon.App(middleware=[Entrance(cloud)], router=router)
    app.req_options.strip_url_path_trailing_slash = True
    app.add_error_handler(Exception, _answer_unexpected)
    app.add_error_handler(falcon.HTTPError, _answer_falcon)
    app.add_error_handler(ApiError, _answer_error)
    versions.add_routes(app)
    for service in (identity, image, compute, block_storage, network, placement):
        service.add_routes(app, cloud)
    return app


def _answer_error(req: falcon.Request, resp: falcon.Response, error: ApiError, params: dict[str, Any]) -> None:
    service = versions.service_at(req.path)
    resp.status = error.status
    resp.content_type, resp.text = errors.body(service, error, request_id_of(req))
    if error.retry_after is not None:
        resp.set_header("Retry-After", f"{error.retry_after:g}")
    if error.status == 401:
        resp.set_header("WWW-Authenticate", f'Keystone uri="{req.prefix}/identity"')


def _answer_falcon(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, params: dict[str, Any]) -> None:
    status = falcon.http_status_to_code(error.status)
    message = error.description or "The resource could not be found." if status == 404 else error.title or ""
    _answer_error(req, resp, ApiError(message, status=status), params)


def _answer_unexpected(req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]) -> None:
    logger.error("%s %s broke the simulator", req.method, req.path, exc_info=error)
    _answer_error(req, resp, ApiError(f"The simulator broke: {error!r}", status=500), params)
