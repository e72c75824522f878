"""BentoML's own front page out of the way: it makes a browser load scripts and a tracker from the internet."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

# BentoML answers these itself, before anything that is mounted in it.
PATHS = ("/", "/docs.json")
FOLDER = "/static_content/"


class FrontPage:
    """ASGI middleware: BentoML's pages are answered by `ours` instead."""

    def __init__(self, app: ASGIApp, ours: ASGIApp) -> None:
        self._app = app
        self._ours = ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        path = scope.get("path", "")
        if scope["type"] == "http" and (path in PATHS or path.startswith(FOLDER)):
            await self._ours(scope, receive, send)
        else:
            await self._app(scope, receive, send)
