"""Realistic inputs of the go-live page, in the formats the other rooms write. Never shipped."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RUN = "20260131-142502"

_COMPONENTS = [
    ("edge", "public", "envoy", "1.40.0", "splits customers between the arms"),
    ("touchpoints-stable", "public", "service", "v2", "four channels, stable arm"),
    ("touchpoints-db", "public", "postgresql", "16", "touchpoints' own store and outbox"),
    ("sync-stable", "public", "worker", "v2", "brings events to the core"),
    ("sync-monitor", "public", "worker", "v2", "measures the delay"),
    ("link", "link", "envoy", "1.40.0", "the line between the zones"),
    ("core-proxy", "private", "envoy", "1.40.0", "in front of the core"),
    ("core", "private", "tryton", "8.2.1", "the CRM core"),
    ("core-db", "private", "postgresql", "16", "core data"),
    ("prometheus", "monitoring", "prometheus", "3.5.0", "scrapes once a second"),
]
_LINKS = [
    ("edge", "touchpoints-stable", "HTTP"),
    ("touchpoints-stable", "touchpoints-db", "SQL"),
    ("sync-stable", "touchpoints-db", "outbox"),
    ("sync-monitor", "touchpoints-db", ""),
    ("sync-stable", "link", "JSON-RPC"),
    ("link", "core-proxy", "TCP"),
    ("core-proxy", "core", "HTTP"),
    ("core", "core-db", "SQL"),
    ("prometheus", "edge", ""),
    ("prometheus", "touchpoints-stable", ""),
    ("prometheus", "sync-monitor", ""),
]


def stack(stable: str = "v2") -> dict[str, Any]:
    cohorts = {
        name: {
            "route": f"cohort-{name}",
            "stable": f"touchpoints-stable-{name}",
            "candidate": f"touchpoints-candidate-{name}",
        }
        for name in ("high", "standard", "anonymous")
    }
    return {
        "version": 1,
        "name": "hybrid-crm",
        "target": "local",
        "created": "2026-01-31T14:25:20Z",
        "edge": {
            "url": "http://127.0.0.1:18080",
            "admin": "http://127.0.0.1:18081",
            "route_file": "/x/arms.json",
            "route_config": "arms",
            "testers_header": "x-huidu-test",
            "testers_secret_file": "/x/testers",
        },
        "cohorts": cohorts,
        "prometheus": "http://127.0.0.1:19090",
        "core": "http://127.0.0.1:18000",
        "tokens": {"key_file": "/x/token.key", "issuer": "huidu-crm", "audience": "touchpoints"},
        "customers": {"count": 5000, "high": 1000},
        "releases": {"stable": stable, "candidate": None},
        "components": [
            {
                "name": name,
                "zone": zone,
                "kind": kind,
                "address": f"127.0.0.1:{18080 + at}",
                "version": version,
                "about": about,
            }
            for at, (name, zone, kind, version, about) in enumerate(_COMPONENTS)
        ],
        "links": [{"source": source, "target": target, "label": label} for source, target, label in _LINKS],
        "generators": [],
    }


def load_run(seed: int = 1) -> dict[str, Any]:
    dice = random.Random(seed)
    bins = []
    for t in range(60):
        planned = round(48 * min(1.0, (t + 3) / 12) + dice.uniform(-5, 5))
        failed = 1 if t == 41 else 0
        bins.append(
            {
                "t": t,
                "planned": planned,
                "ok": planned - failed,
                "failed": failed,
                "p95_ms": dice.uniform(40, 90),
            }
        )
    percentiles = [0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95]
    curve = [[p, round(9 + 14 * math.log10(1 / (1 - p / 100)) ** 1.6 * 1.9 + 6, 1)] for p in percentiles] + [
        [100, 262.0]
    ]
    planned, failed = sum(each["planned"] for each in bins), 1
    part = {
        "dropped": 0,
        "censored": 0,
        "offered_ratio": 1.2,
        "p50_ms": 18.1,
        "p95_ms": 61.4,
        "p99_ms": 118.0,
    }
    names = ("web", "wechat", "shop", "call")
    return {
        "verdict": "PASS",
        "reasons": [],
        "requests": 3 * planned,
        "planned": planned,
        "ok": planned - failed,
        "failed": failed,
        **part,
        "channels": {
            name: {"planned": planned // 4, "ok": planned // 4, "failed": 0, **part} for name in names
        },
        "curve": curve,
        "bins": bins,
    }


_STAGES = [
    ("high-5", 0.01),
    ("high-25", 0.05),
    ("all-10", 0.11),
    ("all-25", 0.25),
    ("all-50", 0.5),
    ("all", 1.0),
]
GATES = {"errors": 5.99, "latency": 5.99, "sync": 6.40, "service": 7.1}


def untouched(document: dict[str, Any]) -> dict[str, Any]:
    """As if it had been taken back at stage 0."""
    for poll in document["timeline"]:
        poll |= {"share": 0.0, "exposed": 0, "stage": "start"}
    return document | {"exposed_customers": 0, "requests_canary": 0, "requests_synthetic": 67}


def rollout(name: str, release: str, blamed: str | None, seed: int = 3) -> dict[str, Any]:
    """A rollout of one poll every 2 s: promoted, or rolled back by `blamed`."""
    dice = random.Random(seed)
    evidence = dict.fromkeys(GATES, 0.0)
    timeline: list[dict[str, Any]] = []
    exposed, requests, bad, stage, t = 0.0, 0.0, 0.0, 0, 0.0
    outcome = "promoted" if blamed is None else "rolled-back"
    while True:
        stage_name, share = _STAGES[stage]
        requests += 100 * share
        exposed += (5000 * share - exposed) * 0.16
        bad += 0.0 if blamed is None else 20 * share
        for gate in evidence:
            harm = gate == blamed and t > (20 if blamed == "sync" else 4)
            evidence[gate] += dice.uniform(0.5, 2.4) if harm else -dice.uniform(0.0, 0.9) * (0.3 + share)
        decision, sentence = "hold", f"{stage_name}: not enough evidence yet for more than {share:.0%}"
        if blamed is not None and evidence[blamed] >= GATES[blamed]:
            decision = "rollback"
            sentence = f"{blamed}: {bad:.0f} of {requests:.0f} bad on the candidate, 0 of 4,210 on stable"
        elif blamed is None and t and t % 10 == 0:
            decision = "widen"
            sentence = f"{stage_name}: an excess above {0.1 / max(share, 0.01):.2f} % is refuted; next stage"
        timeline.append(
            {
                "t": t,
                "share": 0.0 if decision == "rollback" else share,
                "stage": stage_name,
                "weights": {"high": 5.0, "standard": 0.0, "anonymous": 0.0},
                "exposed": round(exposed),
                "gates": {
                    gate: {
                        "log_e": evidence[gate],
                        "bound": bound,
                        "harm_upper": 0.02,
                        "canary": {"total": round(requests), "bad": round(bad) if gate == blamed else 0},
                        "baseline": {"total": 4210, "bad": 0},
                    }
                    for gate, bound in GATES.items()
                },
                "decision": decision,
                "sentence": sentence,
            }
        )
        if decision == "rollback" or (blamed is None and stage == len(_STAGES) - 1 and t > 64):
            break
        stage = min(stage + (decision == "widen"), len(_STAGES) - 1)
        t += 2
    summary = "promoted: no gate found harm" if blamed is None else f"rolled back: {timeline[-1]['sentence']}"
    return {
        "name": f"{name}-{RUN}",
        "release": release,
        "stable_release": "v1" if blamed is None else "v2",
        "plan": "demo",
        "outcome": outcome,
        "blamed_gate": blamed,
        "sentence": summary,
        "started": 1769869502.0,
        "ended": 1769869502.0 + t,
        "seconds_from_start": t,
        "seconds_from_first_bad_request": None if blamed is None else t - 3.5,
        "exposed_customers": round(exposed),
        "requests_canary": round(requests),
        "requests_synthetic": 50,
        "stages": [{"name": stage, "share": share} for stage, share in _STAGES],
        "timeline": timeline,
    }


class Home:
    """A HUIDU_HOME after a go-live in which everything came out as it should; `change` spoils it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = RUN
        self.documents: dict[str, dict[str, Any]] = {
            "stack.json": stack(),
            f"load/go-live-{RUN}/verdict.json": load_run(),
            f"rollouts/good-{RUN}/report.json": rollout("good", "v2", None),
            f"rollouts/errors-{RUN}/report.json": rollout("errors", "v3-errors", "errors"),
            f"rollouts/slow-{RUN}/report.json": rollout("slow", "v4-slow", "latency", 5),
            f"rollouts/late-{RUN}/report.json": rollout("late", "v5-late", "sync", 7),
            f"rollouts/down-{RUN}/report.json": untouched(rollout("down", "v6-down", "errors", 9)),
            f"rollouts/locks-{RUN}/report.json": rollout("locks", "v7-locks", "service", 11)
            | {"outcome": "held"},
        }
        for name in self.documents:
            self._write(name)

    def _write(self, name: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.documents[name]), encoding="utf-8")

    def change(self, name: str, **fields: Any) -> None:
        self.documents[name].update(fields)
        self._write(name)

    def rollout(self, name: str) -> str:
        return f"rollouts/{name}-{RUN}/report.json"

    @property
    def load(self) -> str:
        return f"load/go-live-{RUN}/verdict.json"


@pytest.fixture
def make_home(tmp_path: Path) -> Callable[[], Home]:
    return lambda: Home(tmp_path / "home")


@pytest.fixture
def home(make_home: Callable[[], Home], monkeypatch: pytest.MonkeyPatch) -> Home:
    made = make_home()
    monkeypatch.setenv("HUIDU_HOME", str(made.folder))
    return made
