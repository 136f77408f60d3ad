"""A zone's managed Kubernetes (ACK Pro) and its nodes, over all its data centres, disks encrypted."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pulumi
import pulumi_alicloud as alicloud

from infra.targets.cloud.ground import SERVICES, Plot
from infra.targets.cloud.networks import Network
from infra.targets.cloud.settings import CloudSettings

_ADDONS: Mapping[str, str | None] = MappingProxyType(
    {
        "terway-eniip": '{"NetworkPolicy":"true"}',
        "csi-plugin": None,
        "csi-provisioner": None,
        "metrics-server": None,
        "managed-aliyun-acr-credential-helper": None,
        "ack-node-problem-detector": '{"sls_project_name":""}',
        "node-lifecycle-controller": None,
    }
)
"""Pods' addresses from the switches, with network policies; encrypted volumes; what an autoscaler reads; the
registry's credentials; what nodes are repaired by (the provider's documents: auto_repair needs both)."""
_UNWANTED = "nginx-ingress-controller"
"""ACK may install it by itself, with a load balancer in the internet. The edge is the only way in."""
_LOGS_DAYS = 30


def cluster(
    plot: Plot,
    stack: str,
    network: Network,
    key: alicloud.kms.Key,
    settings: CloudSettings,
    provider: alicloud.Provider,
) -> alicloud.cs.ManagedKubernetes:
    """Declare the cluster, with `key` for the Secrets in its etcd, and its nodes."""
    options = pulumi.ResourceOptions(provider=provider)
    switches = [switch.id for _, switch in network.switches]
    made = alicloud.cs.ManagedKubernetes(
        f"{plot.zone}/kubernetes",
        name=f"{stack}-{plot.zone}",
        cluster_spec="ack.pro.small",
        version=settings.kubernetes,
        vswitch_ids=switches,
        pod_vswitch_ids=switches,
        service_cidr=str(SERVICES),
        new_nat_gateway=False,
        slb_internet_enabled=False,
        encryption_provider_key=key.id,
        disable_encryption=False,  # the provider: both have to be said
        enable_rrsa=True,
        is_enterprise_security_group=True,
        deletion_protection=True,
        control_plane_log_components=["apiserver", "kcm", "scheduler"],
        control_plane_log_ttl=str(_LOGS_DAYS),
        audit_log_config=alicloud.cs.ManagedKubernetesAuditLogConfigArgs(enabled=True),
        addons=_addons(),
        tags={"huidu:stack": stack, "huidu:zone": plot.zone},
        opts=options,
    )
    _nodes(plot, stack, network, made, options)
    return made


def _addons() -> list[alicloud.cs.ManagedKubernetesAddonArgs]:
    wanted = [
        alicloud.cs.ManagedKubernetesAddonArgs(name=name, config=config) for name, config in _ADDONS.items()
    ]
    return [*wanted, alicloud.cs.ManagedKubernetesAddonArgs(name=_UNWANTED, disabled=True)]


def _nodes(
    plot: Plot,
    stack: str,
    network: Network,
    made: alicloud.cs.ManagedKubernetes,
    options: pulumi.ResourceOptions,
) -> None:
    nodes = plot.settings.nodes
    # Without it a pool that may grow has nobody who makes it grow.
    scaler = alicloud.cs.AutoscalingConfig(
        f"{plot.zone}/scaler",
        cluster_id=made.id,
        scaler_type="cluster-autoscaler",
        expander="least-waste",
        opts=options,
    )
    alicloud.cs.NodePool(
        f"{plot.zone}/nodes",
        node_pool_name=f"{stack}-{plot.zone}",
        cluster_id=made.id,
        vswitch_ids=[switch.id for _, switch in network.switches],
        multi_az_policy="BALANCE",
        instance_types=list(nodes.types),
        system_disk_category="cloud_essd",
        system_disk_size=nodes.disk_gb,
        system_disk_encrypted=True,
        scaling_config=alicloud.cs.NodePoolScalingConfigArgs(
            enable=True, min_size=nodes.least, max_size=nodes.most, type="cpu"
        ),
        management=alicloud.cs.NodePoolManagementArgs(
            enable=True, auto_repair=True, auto_vul_fix=True, max_unavailable=1
        ),
        # Without a token (IMDSv2) whatever runs in a pod could ask for the node's own role.
        instance_metadata_options=alicloud.cs.NodePoolInstanceMetadataOptionsArgs(http_tokens="required"),
        key_name=nodes.key_pair or None,
        labels=[alicloud.cs.NodePoolLabelArgs(key="huidu.dev/zone", value=plot.zone)],
        opts=pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[scaler])),
    )
