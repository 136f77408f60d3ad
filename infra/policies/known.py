"""Only kinds of resources that somebody has thought about: what no policy can see is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from infra.policies.policy import Policy, Says
from infra.rendered import Rendered
from infra.topology import Topology

_KUBERNETES: Mapping[str, str] = MappingProxyType(
    {
        "core": "ConfigMap Namespace PersistentVolumeClaim Pod Service ServiceAccount",
        "apps": "DaemonSet Deployment StatefulSet",
        "autoscaling": "HorizontalPodAutoscaler",
        "barmancloud.cnpg.io": "ObjectStore",
        "batch": "CronJob Job",
        "cert-manager.io": "Certificate ClusterIssuer Issuer",
        "gateway.envoyproxy.io": "BackendTrafficPolicy ClientTrafficPolicy EnvoyExtensionPolicy EnvoyProxy"
        " SecurityPolicy",
        "gateway.networking.k8s.io": "BackendTLSPolicy GRPCRoute Gateway HTTPRoute TCPRoute TLSRoute",
        "monitoring.coreos.com": "Alertmanager PodMonitor Prometheus PrometheusRule ServiceMonitor",
        "networking.k8s.io": "Ingress NetworkPolicy",
        "policy": "PodDisruptionBudget",
        "postgresql.cnpg.io": "Cluster Pooler ScheduledBackup",
        "rbac.authorization.k8s.io": "Role RoleBinding",
        "storage.k8s.io": "StorageClass",
    }
)
"""By API group. A Secret is none of them: nothing rendered holds one."""
_ALICLOUD: Mapping[str, str] = MappingProxyType(
    {
        "alb": "listener",
        "cen": "instance transitRouter transitRouterPeerAttachment transitRouterRouteTable"
        " transitRouterRouteTableAssociation transitRouterRouteTablePropagation transitRouterVpcAttachment",
        "cs": "autoscalingConfig managedKubernetes nodePool",
        "ecs": "eipAddress eipAssociation securityGroupRule",
        "kms": "key",
        "oss": "bucket bucketAcl bucketHttpsConfig bucketPublicAccessBlock bucketReplication",
        "ram": "policy user userPolicyAttachment",
        "slb": "listener",
        "vpc": "natGateway network snatEntry switch",
    }
)
"""By the SDK's module."""


def check(topology: Topology, rendered: Sequence[Rendered]) -> Says:
    """Whatever is rendered and not on the lists."""
    for resource in rendered:
        if not _is_known(resource.type):
            what = f"no policy knows what a {resource.type} may give away"
            yield resource.label, what, "write what policies demand of it, and its kind into known.py"


def _is_known(token: str) -> bool:
    provider, _, rest = token.partition(":")
    api, _, kind = rest.partition(":")
    if provider == "kubernetes":
        return kind in _KUBERNETES.get(api.rpartition("/")[0], "").split()
    module, _, name = api.partition("/")
    return provider == "alicloud" and name in _ALICLOUD.get(module, "").split()


POLICY = Policy(
    name="known",
    what="Only kinds of resources that policies were written for are provisioned",
    why="a policy says nothing of what it has never heard of, and silence passes for consent",
    source="implementation guides, risk: data security 30 %; compliance: access by need",
    check=check,
)
