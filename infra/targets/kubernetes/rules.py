"""What Prometheus watches on Kubernetes: the local target's rules, and those about what only stands here."""

from __future__ import annotations

from typing import Any

from infra.targets.local import prometheus

BEHIND_SECONDS = 30
"""Implementation guides: delay of synchronisation < 30 s; a copy of the database is held to the same."""
BACKUP_HOURS = 26
"""A backup a day, and two hours to make it (implementation guides: backups restored daily to verify them)."""
_NEWEST = "max by (component, namespace) (barman_cloud_cloudnative_pg_io_last_available_backup_timestamp)"


def groups() -> list[dict[str, Any]]:
    """Groups of a PrometheusRule."""
    return [*prometheus.rules()["groups"], {"name": "databases", "rules": _databases()}, _rollout()]


def _databases() -> list[dict[str, Any]]:
    return [
        _alert(
            "DatabaseCopyBehind",
            f"cnpg_pg_replication_lag > {BEHIND_SECONDS}",
            "1m",
            "page",
            "{{ $labels.pod }} is {{ $value | humanizeDuration }} behind its primary",
        ),
        _alert(
            # Writes wait for as many copies as `synchronous` says: one fewer and nobody writes.
            "DatabaseCopyMissing",
            "cnpg_pg_replication_streaming_replicas < 1 and cnpg_pg_replication_in_recovery == 0",
            "1m",
            "page",
            "No copy follows {{ $labels.pod }}: writes wait",
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
        _alert(
            "WalNotArchived",
            "cnpg_pg_stat_archiver_seconds_since_last_archival > 900",
            "5m",
            "ticket",
            "{{ $labels.pod }} has archived nothing for {{ $value | humanizeDuration }}",
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
