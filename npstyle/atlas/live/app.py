"""The answers to the browser's requests, and who may ask.

Only a page of this run may ask. Every address begins with a random token, and the `Host` header
must be the address that the server listens on: a web site whose name was made to point at this
machine (DNS rebinding) sends its own name. Anything else gets 403. The page itself may load nothing
from anywhere else (`Content-Security-Policy`).

The page receives server-sent events (WHATWG HTML, section 9.2), each a JSON object. A page that
reads slowly makes its own event stream wait; the next event then has the newest state, and the
pictures in between are left out.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from npstyle.atlas.live.feed import Feed
from npstyle.atlas.live.pictures import ShownPictures

FILES = {"page.html": "text/html", "page.css": "text/css"} | dict.fromkeys(
    ("page.js", "chart.js"), "text/javascript"
)
"""The page's files, with their types: a system's own table may know others."""

EVENT_SECONDS = 0.5
"""Shortest time between two events of a stream, in seconds."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Viewers:
    """Counts the pages that are connected, and remembers whether there has been one."""

    def __init__(self) -> None:
        self.count = 0
        self.has_been = False


def make_app(feed: Feed, photo: Path, token: str, host: str, viewers: Viewers) -> Starlette:
    """Return the application of one run's page.

    Parameters
    ----------
    feed : Feed
    photo : Path
        Shown as the picture before the run.
    token : str
        First part of every address.
    host : str
        The only `Host` header that is answered, such as "127.0.0.1:8765".
    viewers : Viewers
        Counts the event streams.
    """
    shown = ShownPictures(feed, photo)
    orders = {"pause": feed.pause, "resume": feed.resume, "stop": feed.stop}

    async def events(request: Request) -> Response:
        return StreamingResponse(_stream(feed, shown, viewers), media_type="text/event-stream")

    async def order(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in orders:
            return PlainTextResponse("no such order", 404)
        orders[name]()
        return Response(status_code=204)

    def page(name: str) -> Route:
        file = Path(__file__).with_name(name)

        async def send(request: Request) -> Response:
            return FileResponse(file, media_type=FILES[name])

        return Route(f"/{'' if name == 'page.html' else name}", send)

    routes = [
        *map(page, FILES),
        Route("/events", events),
        Route("/{name}", order, methods=["POST"]),
    ]
    return Starlette(
        routes=[Mount(f"/{token}", routes=routes)],
        middleware=[Middleware(_Guard, token=token, host=host)],
    )


async def _stream(feed: Feed, shown: ShownPictures, viewers: Viewers) -> AsyncIterator[str]:
    """Yield events until the run has ended, the first with all that has happened so far."""
    points = pictures = 0
    event: dict[str, Any] = {"before": shown.before}
    described = False
    viewers.count += 1
    viewers.has_been = True
    try:
        while True:
            event |= feed.status()  # first: what it says has ended has left its last picture
            shown.refresh()
            if feed.facts and not described:
                event["facts"], described = feed.facts, True
            new = feed.points[points:]
            event["points"], points = new, points + len(new)
            if shown.number != pictures:
                event["picture"], pictures = shown.data, shown.number
            yield f"data: {json.dumps(event)}\n\n"
            if event["state"] == "ended":
                return
            event = {}
            await asyncio.sleep(EVENT_SECONDS)
    finally:
        viewers.count -= 1


class _Guard:
    """Refuses requests of others, and adds the headers that every answer has."""

    def __init__(self, app: ASGIApp, token: str, host: str) -> None:
        self.app = app
        self.token = token.encode()
        self.host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        given = scope["path"].removeprefix("/").split("/")[0].encode()
        known = secrets.compare_digest(given, self.token)
        answer = self.app
        if not known or Headers(scope=scope).get("host") != self.host:
            answer = PlainTextResponse("403: open the address that npstyle printed\n", 403)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.lower().encode(), text.encode()) for name, text in HEADERS.items()]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        await answer(scope, receive, with_headers)
