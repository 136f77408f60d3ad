"""Sticky cohorts on any gateway: the edge puts every customer into one of a hundred buckets, by a hash.

The hash is computed by a few lines of Lua in the edge's proxies, with nothing but the arithmetic that every
Lua has. Which buckets a release gets is the route's business.
"""

from __future__ import annotations

from infra.targets.kubernetes.place import Manifest, Place
from infra.targets.local.edge_routes import CUSTOMER_HEADER, VISITOR_COOKIE

HEADER = "x-huidu-bucket"
BUCKETS = 100
EVERYBODY = "^([0-9]?[0-9])$"
NOBODY = "^nobody$"

# Every product stays below 2^53, so that doubles are exact: 65,521 is the largest prime below 2^16.
_LUA = """\
local SALT = "{salt}"

-- Two sums that feed each other, stirred at the end: neighbours' ids share no bucket by being neighbours.
local function bucket(text)
  local a, b = 40503, 30011
  for i = 1, #text do
    a = (a * 31421 + string.byte(text, i) + b) % 65521
    b = (b * 27091 + a * a) % 65521
  end
  for _ = 1, 4 do
    a = (a * b + 12345 + a) % 65521
    b = (b * 31421 + a) % 65521
  end
  return math.floor(((a * 65521 + b) % 1000003) * {buckets} / 1000003)
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local who = headers:get("{customer}")
  if who == nil or who == "" then
    who = string.match(headers:get("cookie") or "", "{cookie}=([^;]+)")
  end
  if who == nil or who == "" then
    who = headers:get("x-request-id") or ""
  end
  headers:replace("{header}", string.format("%02d", bucket(SALT .. "|" .. who)))
end
"""


def lua(salt: str) -> str:
    """The edge's program: who has no id is known by the service's cookie, and before that by nothing."""
    return _LUA.format(
        salt=salt, buckets=BUCKETS, customer=CUSTOMER_HEADER, cookie=VISITOR_COOKIE, header=HEADER
    )


def declare(place: Place, zone: str, gateway: str) -> None:
    """Set the header on every request that comes in through `gateway`, after the token was verified."""
    spec: Manifest = {
        "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway}],
        "lua": [{"type": "Inline", "inline": lua(place.topology.name)}],
    }
    place.put(
        zone,
        {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "EnvoyExtensionPolicy",
            "metadata": {"name": "buckets"},
            "spec": spec,
        },
        gateway,
    )
