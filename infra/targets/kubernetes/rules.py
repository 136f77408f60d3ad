"""What Prometheus watches on Kubernetes: the local target's rules, and those about what only stands here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infra.targets.kubernetes.place import Place
from infra.targets.local import prometheus

BEHIND_SECONDS = 30
"""Implementation guides: delay of synchronisation < 30 s; a copy of the database is held to the same."""
BACKUP_HOURS = 26
"""A backup a day, and two hours to make it (implementation guides: backups restored daily to verify them)."""
_NEWEST = "max by (component, namespace) (barman_cloud_cloudnative_pg_io_last_available_backup_timestamp)"


def groups(place: Place, watched: Sequence[str]) -> list[dict[str, Any]]:
    """Groups of a PrometheusRule. `watched`: who is there to be scraped at any time."""
    databases = [*_databases(), *_copies(place)]
    return [
        *prometheus.rules()["groups"],
        {"name": "gone", "rules": [_gone(name) for name in watched]},
        {"name": "edge", "rules": [_unmeasured()]},
        {"name": "databases", "rules": databases},
        _rollout(),
    ]


def _gone(component: str) -> dict[str, Any]:
    """Who has no pod has no `up` either: nothing is 0."""
    return _alert(
        "ComponentGone",
        f'absent(up{{component="{component}"}})',
        "2m",
        "page",
        "Nothing of {{ $labels.component }} is there to be scraped",
    )


def _unmeasured() -> dict[str, Any]:
    """Where the bucket at 2 s is missing the objective would see no slow request, and be content."""
    channels = 'envoy_cluster_name=~"channel-.+"'
    buckets = f'envoy_cluster_upstream_rq_time_bucket{{{channels},le=~"2000(\\\\.0)?"}}'
    return _alert(
        "LatencyUnmeasured",
        f"sum(envoy_cluster_upstream_rq_time_count{{{channels}}}) unless sum({buckets})",
        "5m",
        "page",
        "The edge's histograms have no bucket at 2 s: nobody sees slow requests (EnvoyProxy, spec.bootstrap)",
    )


def _copies(place: Place) -> list[dict[str, Any]]:
    """A commit is to reach as many copies as `synchronous` of the Cluster says; where that is required, one
    fewer and nobody writes."""
    alerts = []
    for name, component in place.topology.of("postgres"):
        if component.lost:
            continue
        links = place.topology.links
        elsewhere = [each.source for each in links if (each.target, each.role) == (name, "primary")]
        number = len(elsewhere) + (1 if component.instances > 1 else 0)
        primary = f'cnpg_pg_replication_in_recovery{{component="{name}"}} == 0'
        follow = f'cnpg_pg_replication_streaming_replicas{{component="{name}"}}'
        if number:
            alerts.append(
                _alert(
                    "DatabaseCopyMissing",
                    f"{follow} < {number} and {primary}",
                    "1m",
                    "page",
                    f"{{{{ $value }}}} of {number} copies follow {{{{ $labels.pod }}}}",
                )
            )
        alerts += [_without(name, replica, primary) for replica in elsewhere]
    return alerts


def _without(name: str, replica: str, primary: str) -> dict[str, Any]:
    """By name: where there are more copies than must answer, their number does not tell which is missing."""
    streams = f'cnpg_pg_stat_replication_sent_diff_bytes{{component="{name}",application_name="{replica}"}}'
    return _alert(
        "DatabaseRegionMissing",
        f"{primary} unless on (namespace, pod) {streams}",
        "1m",
        "page",
        f"{replica} does not follow {{{{ $labels.pod }}}}: a commit waits for it",
    )


def _databases() -> list[dict[str, Any]]:
    """By CloudNativePG's default queries (`default-monitoring`) and the Barman plugin's."""
    primary = "cnpg_pg_replication_in_recovery == 0"
    return [
        _alert(
            "DatabaseCopyBehind",
            f"cnpg_pg_replication_lag > {BEHIND_SECONDS}",
            "1m",
            "page",
            "{{ $labels.pod }} is {{ $value | humanizeDuration }} behind its primary",
        ),
        _alert(
            # Of a copy that receives nothing the lag is 0: it has replayed all that it has.
            "DatabaseCopyNotStreaming",
            "cnpg_pg_replication_is_wal_receiver_up == 0 and cnpg_pg_replication_in_recovery == 1",
            "5m",
            "page",
            "{{ $labels.pod }} receives nothing from its primary",
        ),
        _alert(
            "BackupMissing",
            f"time() - ({_NEWEST} > 0) > {BACKUP_HOURS} * 3600",
            "10m",
            "page",
            "The newest backup of {{ $labels.component }} is {{ $value | humanizeDuration }} old",
        ),
        _alert(
            "BackupNever",
            f"{_NEWEST} == 0",
            "2h",
            "page",
            "{{ $labels.component }} has no backup at all",
        ),
        # Only a primary archives: what a former one remembers is old, and an idle one has nothing to archive.
        _alert(
            "WalNotArchived",
            "cnpg_pg_stat_archiver_last_failed_time > cnpg_pg_stat_archiver_last_archived_time"
            f" and {primary}",
            "5m",
            "ticket",
            "{{ $labels.pod }} cannot archive its WAL",
        ),
        _alert(
            "WalNeverArchived",
            f"cnpg_pg_stat_archiver_last_archived_time == -1 and {primary}",
            "1h",
            "ticket",
            "{{ $labels.pod }} has never archived its WAL",
        ),
    ]


def _rollout() -> dict[str, Any]:
    """A rollout that nobody drives. (`huidu rollout alerts` has all of them.)"""
    alert = _alert(
        "RolloutUnattended",
        "huidu_rollout_attended == 0",
        "2m",
        "page",
        "Nobody drives the rollout {{ $labels.rollout }}",
    )
    return {"name": "rollout", "rules": [alert]}


def _alert(name: str, expression: str, lasting: str, severity: str, summary: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expression,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {"summary": summary},
    }
