"""What became of imports that were answered with a job. Kept in memory: the rows are what lasts."""

import uuid
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

from daemon.answers import Answer, Refused, Request, json_answer

JOBS_MAX = 1000


class Jobs:
    """The last jobs, by their ids."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, tuple[str, dict[str, Any]]] = OrderedDict()

    def add(self, owner: str, document: dict[str, Any]) -> dict[str, Any]:
        """Keep a finished job for the token `owner`; the document with its id and its times."""
        job_id = str(uuid.uuid4())
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        job = {
            "id": job_id,
            "job_id": job_id,
            "job_url": f"/v0/jobs/{job_id}",
            "kind": "import",
            "created_at": now,
            "started_at": now,
            "updated_at": now,
            **document,
        }
        self._jobs[job_id] = (owner, job)
        if len(self._jobs) > JOBS_MAX:
            self._jobs.popitem(last=False)
        return job

    async def show(self, request: Request, job_id: str) -> Answer:
        """`GET /v0/jobs/ID`: for the token that started it, or an admin."""
        return json_answer(self._find(request, job_id))

    async def list(self, request: Request) -> Answer:
        """`GET /v0/jobs`, newest first."""
        mine = [job for owner, job in self._jobs.values() if request.token.is_admin or owner == request.token.id]
        return json_answer({"jobs": mine[::-1]})

    def _find(self, request: Request, job_id: str) -> dict[str, Any]:
        owner, job = self._jobs.get(job_id, ("", {}))
        if not job or not (request.token.is_admin or owner == request.token.id):
            raise Refused(404, "there is no such job; jobs are forgotten after a restart")
        return job
