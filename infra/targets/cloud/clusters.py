"""A zone's managed Kubernetes (ACK Pro) and its nodes, over all its data centres, disks encrypted."""

from __future__ import annotations

import pulumi
import pulumi_alicloud as alicloud

from infra.targets.cloud.ground import Plot
from infra.targets.cloud.networks import Network
from infra.targets.cloud.settings import CloudSettings

_ADDONS = (
    "terway-eniip",
    "csi-plugin",
    "csi-provisioner",
    "metrics-server",
    "managed-aliyun-acr-credential-helper",
)
"""Pods' addresses from the switches, with network policies; encrypted volumes; what an autoscaler reads; the
registry's credentials."""


def cluster(
    plot: Plot, stack: str, network: Network, settings: CloudSettings, provider: alicloud.Provider
) -> alicloud.cs.ManagedKubernetes:
    """Declare the cluster, a key for the Secrets in its etcd, and its nodes."""
    options = pulumi.ResourceOptions(provider=provider)
    switches = [switch.id for _, switch in network.switches]
    key = alicloud.kms.Key(
        f"{plot.zone}/secrets",
        description=f"Secrets of {stack} in {plot.zone}",
        pending_window_in_days=7,
        opts=options,
    )
    made = alicloud.cs.ManagedKubernetes(
        f"{plot.zone}/kubernetes",
        name=f"{stack}-{plot.zone}",
        cluster_spec="ack.pro.small",
        version=settings.kubernetes,
        vswitch_ids=switches,
        pod_vswitch_ids=switches,
        service_cidr="172.21.0.0/20",
        new_nat_gateway=False,
        slb_internet_enabled=False,
        encryption_provider_key=key.id,
        enable_rrsa=True,
        is_enterprise_security_group=True,
        deletion_protection=True,
        control_plane_log_components=["apiserver", "kcm", "scheduler"],
        addons=[_addon(name) for name in _ADDONS],
        tags={"huidu:stack": stack, "huidu:zone": plot.zone},
        opts=options,
    )
    _nodes(plot, stack, network, made, options)
    _people(plot, settings, made, options)
    return made


def _addon(name: str) -> alicloud.cs.ManagedKubernetesAddonArgs:
    config = '{"NetworkPolicy":"true"}' if name.startswith("terway") else None
    return alicloud.cs.ManagedKubernetesAddonArgs(name=name, config=config)


def _nodes(
    plot: Plot,
    stack: str,
    network: Network,
    made: alicloud.cs.ManagedKubernetes,
    options: pulumi.ResourceOptions,
) -> None:
    nodes = plot.settings.nodes
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
        labels=[alicloud.cs.NodePoolLabelArgs(key="huidu.dev/zone", value=plot.zone)],
        opts=options,
    )


def _people(
    plot: Plot,
    settings: CloudSettings,
    made: alicloud.cs.ManagedKubernetes,
    options: pulumi.ResourceOptions,
) -> None:
    """Who may reach the API server: the networks the owner named, nobody else."""
    for index, network in enumerate(settings.operators):
        alicloud.ecs.SecurityGroupRule(
            f"{plot.zone}/operators-{index}",
            security_group_id=made.security_group_id,
            type="ingress",
            ip_protocol="tcp",
            port_range="6443/6443",
            cidr_ip=network,
            opts=options,
        )
