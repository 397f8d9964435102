"""Every route of the daemon, and what serves it."""

from daemon.administration import AdministrationApi
from daemon.analysis import AnalysisApi
from daemon.config import Config
from daemon.datasources import DatasourcesApi
from daemon.events import EVENT, EVENTS_PATH, EventsApi
from daemon.imports import ImportsApi
from daemon.jobs import Jobs
from daemon.request_log import RequestLog
from daemon.router import Route, Router
from daemon.service import ServiceApi
from daemon.sources import Sources
from daemon.sql import SqlWorker
from daemon.sql_routes import SqlApi
from daemon.token_routes import TokensApi
from daemon.tokens import Tokens
from segments.disk import Disk


def build_router(
    config: Config,
    disk: Disk,
    sources: Sources,
    tokens: Tokens,
    worker: SqlWorker,
    log: RequestLog,
    events: EventsApi,
) -> Router:
    """The handlers, each with what it needs, and their routes."""
    intake = events.intake
    token_api = TokensApi(tokens, intake)
    shown = DatasourcesApi(disk, sources)
    sql = SqlApi(worker, sources, intake, log)
    administration = AdministrationApi(disk, sources, tokens, intake, shown, sql)
    jobs = Jobs()
    imports = ImportsApi(disk, sources, events, intake, shown, administration, jobs)
    source = "/v0/datasources/{}"
    routes = [
        Route("POST", EVENTS_PATH, events.post, event=EVENT),
        Route("GET", "/v0/sql", sql.get),
        Route("POST", "/v0/sql", sql.post),
        Route("GET", "/v0/tokens", token_api.list),
        Route("POST", "/v0/tokens", token_api.create),
        Route("GET", "/v0/tokens/{}", token_api.show),
        Route("PUT", "/v0/tokens/{}", token_api.update),
        Route("DELETE", "/v0/tokens/{}", token_api.delete),
        Route("POST", "/v0/tokens/{}/refresh", token_api.refresh),
        Route("GET", "/v0/datasources", shown.list),
        Route("POST", "/v0/datasources", imports.post, event="append"),
        Route("GET", source, shown.show),
        Route("PUT", source, administration.rename, event="rename"),
        Route("DELETE", source, administration.delete, event="delete"),
        Route("GET", f"{source}/watermark", shown.watermark),
        Route("POST", f"{source}/alter", administration.alter, event="alter"),
        Route("POST", f"{source}/delete", administration.delete_rows),
        Route("POST", f"{source}/truncate", administration.truncate, event="truncate"),
        Route("POST", f"{source}/replay", administration.replay, event="replay"),
        Route("POST", "/v1/datasources/{}/append", imports.append_as_job, event="append"),
        Route("POST", "/v1/datasources/{}/replace", imports.replace_as_job, event="replace"),
        Route("GET", "/v0/jobs", jobs.list),
        Route("GET", "/v0/jobs/{}", jobs.show),
        Route("POST", "/v0/analyze", AnalysisApi(intake).analyze),
    ]
    return Router(routes + _service_routes(config, tokens, routes))


def _service_routes(config: Config, tokens: Tokens, routes: list[Route]) -> list[Route]:
    """What programs ask before they work, and the front page, which names the other routes."""
    service = ServiceApi(
        tokens,
        (f"{route.method} {route.template.replace('{}', 'NAME')}" for route in routes),
        tokens_on_loopback=config.tokens_on_loopback,
    )
    return [
        Route("GET", "/", service.front_page, is_open=True),
        Route("GET", "/health", service.health, is_open=True),
        Route("GET", "/v0/health", service.health, is_open=True),
        Route("GET", "/version", service.version, is_open=True),
        Route("GET", "/v0/workspace", service.workspace),
        Route("GET", "/v1/workspace", service.workspace),
        Route("GET", "/v0/user/workspaces", service.workspaces),
        Route("GET", "/v1/user/workspaces", service.workspaces),
        Route("POST", "/v1/workspaces", service.name_workspace),
        Route("GET", "/tokens", service.local_tokens, is_open=True),
        Route("GET", "/v0/regions", service.regions),
        Route("GET", "/v0/pipes", service.pipes),
    ]
