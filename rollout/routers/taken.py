"""The route is not free: whose it is, and what to do about that. Pure.

Who holds a route writes itself down as "rollout NAME, process N on HOST", "guard of rollout NAME, ..." or
"abort of rollout NAME".
"""

from __future__ import annotations

from huidu.foundation.errors import Locked


def taken(owner: str, holder: str, where: str) -> Locked:
    """Said to `owner`: another rollout has the route, or this one's own controller, begun before, or somebody
    who is just taking this one back."""
    wanted = owner.partition(", ")[0]
    held, _, process = holder.partition(", ")
    if process and held == wanted:
        return Locked(
            f"this rollout already has a controller ({process})",
            where=where,
            remedy="let it go on, or end that process (Ctrl-C pauses it) before another one drives it",
        )
    if held in (f"guard of {wanted}", f"abort of {wanted}"):
        return Locked(
            f"this rollout is being taken back to stable ({holder})",
            where=where,
            remedy="wait until that is done; `huidu rollout status` says when",
        )
    return Locked(
        f"another rollout controls this route ({holder})",
        where=where,
        remedy="one rollout per route: wait until it has ended, or `huidu rollout abort` it",
    )
