"""The edge's log of failed requests: one JSON object a line, so that a verdict can name requests that failed.

Envoy writes it to standard output and supervisor keeps that in a file of bounded size (two of 2 MB). Path
without query, no headers but the request's id, no bodies: it holds no names and no tokens.
"""

from __future__ import annotations

from infra.targets.local.proxy import Config, typed

FIELDS: Config = {
    "time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "method": "%REQ(:METHOD)%",
    # A path may be as long as a header: what a person reads is the beginning.
    "path": "%PATH(NQ:PATH):256%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "ms": "%DURATION%",
}

# Cut off after the status had been sent: it counts as 200, but the customer has half an answer.
_CUT = ("UC", "UR", "UT", "UPE")


def of_arms() -> list[Config]:
    """Of the listener in front of the arms: what failed, was cut short, or never answered (status 0)."""
    cut = {"response_flag_filter": {"flags": list(_CUT)}}
    return [_log({"or_filter": {"filters": [_status("GE", 500), _status("EQ", 0), cut]}})]


def of_edge() -> list[Config]:
    """Of the public listener: what failed before it came to an arm (an open breaker)."""
    # Without a flag the answer is an arm's, and stands in the other log.
    mine: Config = {"response_flag_filter": {}}
    return [_log({"and_filter": {"filters": [_status("GE", 500), mine]}})]


def _status(comparison: str, value: int) -> Config:
    limit = {"default_value": value, "runtime_key": f"edge.failures.{comparison.lower()}_{value}"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": limit}}}


def _log(chosen: Config) -> Config:
    return {
        "name": "envoy.access_loggers.stdout",
        "filter": chosen,
        "typed_config": typed(
            "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            log_format={"json_format": FIELDS},
        ),
    }
