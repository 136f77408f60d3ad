"""Who writes backups (RAM): a user for each zone, who reaches its own databases' part of a bucket only.

Zones of one region share a bucket, and whoever gets hold of the public one's key shall not read the core. The
access key itself is made by a person and goes into the clusters' Secret: here it would lie in Pulumi's state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import pulumi
import pulumi_alicloud as alicloud

_OBJECTS = (
    "oss:GetObject",
    "oss:PutObject",
    "oss:DeleteObject",  # what is older than is kept; the bucket's versions outlive it
    "oss:AbortMultipartUpload",
    "oss:ListParts",
)
_BUCKET = ("oss:GetBucketInfo", "oss:GetBucketLocation")


def declare(stack: str, zone: str, databases: Mapping[str, str], provider: alicloud.Provider) -> None:
    """`databases`: by name, the bucket in which each keeps its backups, below its own name."""
    options = pulumi.ResourceOptions(provider=provider)
    name = f"{stack}-{zone}-backups"
    user = alicloud.ram.User(
        f"{zone}/backups", name=name, comments=f"Writes the backups of {stack} in {zone}", opts=options
    )
    policy = alicloud.ram.Policy(
        f"{zone}/backups",
        policy_name=name,
        description=f"Backups of {', '.join(databases)}",
        policy_document=json.dumps(_document(databases)),
        opts=options,
    )
    alicloud.ram.UserPolicyAttachment(
        f"{zone}/backups",
        user_name=user.name,
        policy_name=policy.policy_name,
        policy_type="Custom",
        opts=options,
    )


def _document(databases: Mapping[str, str]) -> dict[str, object]:
    statements: list[dict[str, object]] = []
    for bucket in dict.fromkeys(databases.values()):
        here = [name for name, kept in databases.items() if kept == bucket]
        whole = f"acs:oss:*:*:{bucket}"
        prefixes = {"oss:Prefix": [f"{name}{end}" for name in here for end in ("/", "/*")]}
        statements += [
            {
                "Effect": "Allow",
                "Action": list(_OBJECTS),
                "Resource": [f"{whole}/{name}/*" for name in here],
            },
            {"Effect": "Allow", "Action": list(_BUCKET), "Resource": [whole]},
            {
                "Effect": "Allow",
                "Action": ["oss:ListObjects"],
                "Resource": [whole],
                "Condition": {"StringLike": prefixes},
            },
        ]
    return {"Version": "1", "Statement": statements}
