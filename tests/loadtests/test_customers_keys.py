"""Tokens of known customers where the edge has public keys only: signed with a private key, checked by
whoever has the set of keys (JWKS) that docs/load-distributed.md says how to make."""

from __future__ import annotations

import base64
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest

from huidu.foundation.errors import ConfigError
from loadtests.customers import Customers, signer
from loadtests.plan import Tokens
from loadtests.profile import Population
from tests.infra.conftest import KEY, call, free_ports, running_envoy

ROOT = Path(__file__).parents[2]
DOCS, PROFILES = ROOT / "docs" / "load-distributed.md", ROOT / "loadtests" / "profiles"


def documented(folder: Path) -> None:
    """What the page tells the reader to type: key.pem, load.key, jwks.json."""
    (block,) = re.findall(r"(?m)^    openssl genpkey(?:.*\n)(?:    .*\n)+", DOCS.read_text())
    made = "\n".join(line[4:] for line in block.splitlines() if "kubectl" not in line)
    python = made.replace("python -", f"{sys.executable} -")
    subprocess.run(["bash", "-euc", python], cwd=folder, check=True, timeout=60, capture_output=True)


def drawn(file: Path) -> str:
    tokens = Tokens(key_file=file, issuer="huidu-crm", audience="touchpoints", count=50, high=10)
    return Customers(tokens, Population()).draw(random.Random(1)).token


def claims(token: str, keys: dict[str, Any]) -> dict[str, Any]:
    """As a service of the identity provider would read it: by the key that the token names."""
    found = {each.key_id: each for each in jwt.PyJWKSet.from_dict(keys).keys}
    key = found[jwt.get_unverified_header(token)["kid"]]
    return dict(
        jwt.decode(token, key, algorithms=[key.algorithm_name], audience="touchpoints", issuer="huidu-crm")
    )


def made(folder: Path, words: str, kid: str = "") -> Path:
    """A private key by openssl."""
    file = folder / "made.key"
    done = subprocess.run(["openssl", *words.split()], check=True, timeout=60, capture_output=True)
    file.write_bytes((f"kid: {kid}\n".encode() if kid else b"") + done.stdout)
    return file


def test_tokens_are_good_by_the_public_keys_of_the_documented_commands(tmp_path: Path) -> None:
    documented(tmp_path)
    keys = json.loads((tmp_path / "jwks.json").read_text())
    assert all("d" not in each for each in keys["keys"])  # nothing private
    token = drawn(tmp_path / "load.key")
    assert jwt.get_unverified_header(token)["alg"] == "ES256"
    assert claims(token, keys)["sub"].startswith("c-0000")


def test_an_rsa_key_signs_too(tmp_path: Path) -> None:
    file = made(tmp_path, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", kid="old-one")
    found = signer(file)
    assert (found.algorithm, found.key_id) == ("RS256", "old-one")
    assert not isinstance(found.key, bytes)
    public = jwt.algorithms.RSAAlgorithm.to_jwk(found.key.public_key(), as_dict=True)  # type: ignore[arg-type]
    keys = {"keys": [public | {"kid": "old-one", "alg": "RS256"}]}
    assert claims(drawn(file), keys)["tier"] in ("high", "standard")


def test_without_a_name_the_token_names_no_key(tmp_path: Path) -> None:
    file = made(tmp_path, "ecparam -name prime256v1 -genkey")  # parameters first, then the key
    assert "kid" not in jwt.get_unverified_header(drawn(file))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", "another kind"),
        ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024", "another kind"),
        ("genpkey -algorithm ED25519", "another kind"),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes-256-cbc -pass pass:x",
            "is encrypted",
        ),
    ],
)
def test_a_key_of_another_kind_is_refused_before_anything_is_sent(
    tmp_path: Path, words: str, said: str
) -> None:
    file = made(tmp_path, words)
    with pytest.raises(ConfigError, match=said) as caught:
        drawn(file)
    assert str(file) in str(caught.value) and "P-256" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a key!",
        "c2hvcnQ",
        "x" * 45,
        "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nMFkw\n-----END PRIVATE KEY-----\n",
        '{"keys": []}',
        "钥",
    ],
)
def test_a_file_that_is_no_key_is_named_and_never_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        drawn(file)
    said = str(caught.value)
    assert str(file) in said and "base64url" in said
    assert not text or text not in said


def test_keys_do_not_show_themselves(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(base64.urlsafe_b64encode(b"k" * 32).decode())
    assert "kkk" not in repr(signer(file))


@pytest.mark.slow
def test_the_command_says_what_is_wrong_with_the_key(tmp_path: Path) -> None:
    """Before anything is sent, not in a worker's log."""
    (tmp_path / "key").write_text("not a key!")
    (tmp_path / "stack.json").write_text(stack(tmp_path / "key"))
    done = subprocess.run(
        [sys.executable, "-m", "huidu", "load", "verify", str(PROFILES / "demo.yaml")],
        env={"HUIDU_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert str(tmp_path / "key") in done.stderr and "expected:" in done.stderr


def stack(key_file: Path) -> str:
    edge = {
        "url": "http://127.0.0.1:9",
        "route_config": "arms",
        "testers_header": "x-huidu-test",
        "testers_secret_file": "x",
    }
    known = {
        "name": "demo",
        "target": "kubernetes",
        "created": "2026-01-01T00:00:00Z",
        "edge": edge,
        "cohorts": {},
        "prometheus": "",
        "core": "",
        "tokens": {"key_file": str(key_file), "issuer": "huidu-crm", "audience": "touchpoints"},
        "customers": {"count": 50, "high": 10},
        "releases": {"stable": "v1"},
        "components": [],
        "links": [],
    }
    return json.dumps(known)


@pytest.mark.server
def test_envoy_lets_them_in_by_the_public_keys(tmp_path: Path) -> None:
    """With the provider that the edge has: issuer, audience, the set of keys. Here nobody comes without."""
    documented(tmp_path)
    port, admin = free_ports(2)
    with running_envoy(tmp_path, edge(tmp_path / "jwks.json", port, admin), admin):
        by = {"Authorization": f"Bearer {drawn(tmp_path / 'load.key')}"}
        assert call(port, "/", by).status == 200
        other = made(tmp_path, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", kid="load")
        assert call(port, "/", {"Authorization": f"Bearer {drawn(other)}"}).status == 401
        symmetric = tmp_path / "symmetric"
        symmetric.write_text(base64.urlsafe_b64encode(KEY).decode())
        assert call(port, "/", {"Authorization": f"Bearer {drawn(symmetric)}"}).status == 401
        assert call(port, "/").status == 401


def edge(keys: Path, port: int, admin: int) -> dict[str, Any]:
    filters = "envoy.extensions.filters.http"
    network = "envoy.extensions.filters.network.http_connection_manager"
    customers = {
        "issuer": "huidu-crm",
        "audiences": ["touchpoints"],
        "local_jwks": {"inline_string": keys.read_text()},
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
    }
    authn = {
        "@type": f"type.googleapis.com/{filters}.jwt_authn.v3.JwtAuthentication",
        "providers": {"customers": customers},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "customers"}}],
    }
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    manager = {
        "@type": f"type.googleapis.com/{network}.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": authn},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"type.googleapis.com/{filters}.router.v3.Router"},
            },
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}

    def at(number: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    return {
        "admin": {"address": at(admin)},
        "static_resources": {"listeners": [{"name": "edge", "address": at(port), "filter_chains": [chain]}]},
    }
