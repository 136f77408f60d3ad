"""Policies: what a stack must not be, judged before anything is made. One file each, pure."""

from infra.policies.gate import Judged, PolicyRefused, judge, refuse
from infra.policies.policy import Finding, Policy

__all__ = ["Finding", "Judged", "Policy", "PolicyRefused", "judge", "refuse"]
