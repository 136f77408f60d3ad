"""PgBouncer in front of a database, for programs without a pool of their own: one writes, one reads.

It looks up who may log in as a user of its own (`USER`), who is let in by certificate. Where CloudNativePG
cannot sign that one (see postgres.py), it is made beside the database's own, and the database knows the user
from its first day.
"""

from __future__ import annotations

import pulumi

from infra.targets.kubernetes.place import Manifest, Place

READ_WRITE, READ_ONLY = "rw", "ro"
USER = "cnpg_pooler_pgbouncer"
_LOOK_UP = "SELECT usename, passwd FROM public.user_search($1)"


def pooler(name: str, kind: str) -> str:
    """The name of a database's pooler, and of its Service."""
    return f"{name}-pooler-{kind}"


def login_secret(name: str) -> str:
    """The Secret with the certificate of USER, where it is not CloudNativePG's."""
    return f"{name}-pooler-login"


def lets_them_in(database: str) -> list[str]:
    """What CloudNativePG does for poolers whose certificates it signs itself, by its manual ("Connection
    pooling", authentication). For a superuser, in a new database."""
    return [
        f"CREATE ROLE {USER} WITH LOGIN",
        f"GRANT CONNECT ON DATABASE {database} TO {USER}",
        "CREATE FUNCTION public.user_search(uname TEXT) RETURNS TABLE (usename name, passwd text)"
        " LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog"
        " AS 'SELECT usename, passwd FROM pg_catalog.pg_shadow WHERE usename = $1'",
        "REVOKE ALL ON FUNCTION public.user_search(text) FROM public",
        f"GRANT EXECUTE ON FUNCTION public.user_search(text) TO {USER}",
    ]


def declare(place: Place, name: str, kind: str, own_login: bool, made: pulumi.Resource) -> None:
    """One pooler of the database `name`, whose Cluster is `made`."""
    component = place.component(name)
    own = pooler(name, kind)
    labels = place.labels(own)
    resources = {"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"memory": "256Mi"}}
    container = {"name": "pgbouncer", "resources": resources, "securityContext": place.container_security()}
    asks = {"authQuerySecret": {"name": login_secret(name)}, "authQuery": _LOOK_UP} if own_login else {}
    manifest: Manifest = {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Pooler",
        "metadata": {"name": own, "labels": labels},
        "spec": {
            "cluster": {"name": name},
            "type": kind,
            "instances": place.settings.databases.poolers,
            "pgbouncer": {
                # Sessions: Tryton and the workers hold locks and settings for longer than a transaction.
                "poolMode": "session",
                "parameters": {
                    "max_client_conn": "1000",
                    "default_pool_size": "50",
                    "server_tls_protocols": "tlsv1.2,tlsv1.3",
                    "ignore_startup_parameters": "extra_float_digits,options",
                },
                **asks,
            },
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [container],
                    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                    # Customers' data go through it: no other nodes than its database's.
                    **({"nodeSelector": dict(nodes)} if (nodes := place.zone(component.zone).nodes) else {}),
                    "topologySpreadConstraints": [
                        each | {"labelSelector": {"matchLabels": {"cnpg.io/poolerName": own}}}
                        for each in place.spread(name, component.zone)
                    ],
                },
            },
        },
    }
    place.put(component.zone, manifest, own, [made])
