"""An OpenAI-compatible server on the loopback interface."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


class FakeServer:
    """Answers by a function of path and body; records every request."""

    def __init__(self) -> None:
        self.answer: Callable[[str, dict[str, Any]], Answer] = lambda path, body: (
            200,
            completion(body["prompt"] + "!"),
        )
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer._serve(self)

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            self.bodies.append(body)
            self.headers.append(dict(handler.headers))
        try:
            code, content, *more = self.answer(handler.path, body)
        finally:
            with self._lock:
                self._now -= 1
        if code == 0:
            handler.close_connection = True
            return
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(code)
        for name, value in (more[0] if more else {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def completion(text: str, top: dict[str, float] | None = None, **more: Any) -> dict[str, Any]:
    """The JSON body of a completion, with ``top`` as the log-probabilities."""
    choice = {
        "text": text,
        "finish_reason": "stop",
        "logprobs": {"top_logprobs": [top]} if top else None,
    }
    return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}, **more}
