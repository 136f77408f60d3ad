"""How much of the candidate is ready, as Prometheus answers."""

from __future__ import annotations

import http.server
import json
import threading

import pytest

from huidu.foundation.errors import ConfigError, Unreachable
from rollout.plan.file import parse_plan
from rollout.readiness import check_readiness, ready_replicas
from tests.rollout.worlds import PLAN

READY = """deploy: {capacity: {peak: 200/s, ready: 'up{release="{release}"}', per_replica: 10/s}}"""


@pytest.fixture
def answering():
    """A server that answers what is put in `said`; `asked` has the bodies."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.rfile.read(int(self.headers["content-length"])).decode())
            status, result = said[-1]
            facts = {"status": "success", "data": {"resultType": "vector", "result": result}}
            wrong = {"status": "error", "errorType": "bad_data", "error": "parse error"}
            body = json.dumps(facts if status == 200 else wrong).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            return None

    asked, said = [], []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked, said
    server.shutdown()
    server.server_close()
    thread.join(5)


def series(*values):
    return [{"metric": {"pod": str(n)}, "value": [1.0, str(value)]} for n, value in enumerate(values)]


@pytest.mark.parametrize(
    ("answer", "ready"),
    [((200, series(3, 4)), 7.0), ((200, []), None), ((200, series("NaN")), None), ((400, []), None)],
    ids=["summed", "no such series", "not a number", "an error"],
)
def test_the_series_are_added_up_and_what_is_not_known_is_not_zero(answering, answer, ready):
    address, asked, said = answering
    said.append(answer)
    plan = parse_plan(PLAN + READY, "p")
    assert ready_replicas(plan, address, "v2")(0.0) == ready
    assert "release%3D%22v2%22" in asked[0]


def test_a_question_that_is_wrong_is_refused_before_anything_moves(answering):
    address, _, said = answering
    said.append((400, []))
    plan = parse_plan(PLAN + READY, "p")
    with pytest.raises(ConfigError):
        check_readiness(plan, address, "v2")
    with pytest.raises(Unreachable):
        check_readiness(plan, "http://127.0.0.1:1", "v2")
    assert ready_replicas(plan, "http://127.0.0.1:1", "v2")(0.0) is None
