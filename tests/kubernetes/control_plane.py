"""A Kubernetes control plane as five processes on loopback: etcd, API server, controllers, scheduler, kwok.

Everything it writes lies in one folder, every process ends with us, and TLS is verified with the certificate
the API server makes for itself. Otherwise than in a whole cluster, pods become Running and Ready without any
container (kwok), volumes are bound but never mounted, and NetworkPolicies are stored but not enforced.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from infra.toolchain import work

READY = 150.0  # Seconds; it takes 3 on a free machine.
CONTEXTS = ("public", "private", "second-region")
"""Names of kubeconfig contexts, all of this one cluster: a stack may map its zones to them."""
_TRIES = 3  # Somebody else may take a port between our choosing it and our listening on it.
_CONTROLLERS = (
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller",
    "job-controller",
    "namespace-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "serviceaccount-controller",
    "statefulset-controller",
    "ttl-after-finished-controller",
)


class DidNotStart(Exception):
    """A server of the control plane ended, or was not ready in time; what it said last."""


@dataclass(slots=True)
class Process:
    """One server in a process group of its own, which the kernel ends when we die."""

    name: str
    line: Sequence[str]
    log: Path
    _running: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                self.line,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.log.parent,
                start_new_session=True,
                preexec_fn=work.ends_with_us(signal.SIGKILL),
            )

    def ended(self) -> bool:
        return self._running is None or self._running.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        if self._running is not None and not self.ended():
            os.killpg(self._running.pid, number)

    def kill(self) -> None:
        """End it at once: nothing of it is worth being put away."""
        self.signal(signal.SIGKILL)
        if self._running is not None:
            self._running.wait(timeout=30)
        self._running = None

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return f"{self.name}: " + (" | ".join(lines[-5:])[-1500:] or "said nothing")


@dataclass(slots=True)
class ControlPlane:
    """The running processes and how to reach them. `kubeconfig` and `token` are the administrator's."""

    folder: Path
    url: str
    token: str
    processes: dict[str, Process]

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def certificate(self) -> Path:
        """The API server's own certificate, which vouches for it."""
        return self.folder / "certificates" / "apiserver.crt"

    def write_kubeconfig(self, path: Path, token: str) -> Path:
        """A kubeconfig (JSON, which is YAML) for whoever has the token, readable by us only."""
        authority = base64.b64encode(self.certificate.read_bytes()).decode()
        clusters = {"server": self.url, "certificate-authority-data": authority}
        names = ("test", *CONTEXTS)
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": clusters}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": "test", "user": "test"}} for name in names],
            "current-context": "test",
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(document, indent=1))
        return path

    def wait_ready(self) -> None:
        """Until the API server says so. Raises DidNotStart."""
        server = self.processes["kube-apiserver"]
        session = requests.Session()
        session.trust_env = False  # Loopback: never through a proxy.
        deadline = time.monotonic() + READY
        while time.monotonic() < deadline:
            for each in self.processes.values():
                if each.ended() and each.log.exists():
                    raise DidNotStart(each.last_words())
            with contextlib.suppress(requests.RequestException, OSError):
                headers = {"Authorization": f"Bearer {self.token}"}
                verify = str(self.certificate)
                if session.get(f"{self.url}/readyz", headers=headers, verify=verify, timeout=2).ok:
                    return
            time.sleep(0.1)
        raise DidNotStart(f"not ready after {READY:.0f} s; {server.last_words()}")

    def pause(self) -> None:
        """The API server answers nothing any more, and refuses nothing: what a caller sees is silence."""
        self.processes["kube-apiserver"].signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.processes["kube-apiserver"].signal(signal.SIGCONT)

    def stop_server(self) -> None:
        """The API server is gone: connections are refused, watches break off."""
        self.processes["kube-apiserver"].kill()

    def start_server(self) -> None:
        """The API server is there again at the same address, with all that was stored."""
        if self.processes["kube-apiserver"].ended():
            self.processes["kube-apiserver"].start()
        self.resume()
        self.wait_ready()

    def end(self) -> None:
        for each in reversed(self.processes.values()):
            each.kill()


@contextlib.contextmanager
def running(folder: Path, programs: Path) -> Iterator[ControlPlane]:
    """A control plane in `folder` (made by the caller, removed by him), from the folder of programs."""
    for left in reversed(range(_TRIES)):
        plane = _prepare(folder / f"try-{_TRIES - left}", programs)
        try:
            _start(plane)
            break
        except DidNotStart as error:
            plane.end()
            if left == 0 or "address already in use" not in str(error):
                raise
        except BaseException:
            plane.end()
            raise
    try:
        yield plane
    finally:
        plane.end()


def _start(plane: ControlPlane) -> None:
    """The API server first: the others want a kubeconfig, and with it the server's certificate."""
    plane.processes["etcd"].start()
    plane.processes["kube-apiserver"].start()
    plane.wait_ready()
    plane.write_kubeconfig(plane.kubeconfig, plane.token)
    for name in ("kube-controller-manager", "kube-scheduler", "kwok"):
        plane.processes[name].start()


def _prepare(folder: Path, programs: Path) -> ControlPlane:
    """Keys, tokens and command lines; nothing is started. Secrets lie in files that only we can read."""
    folder.mkdir(mode=0o700)
    token = secrets.token_urlsafe(24)
    (folder / "tokens.csv").touch(mode=0o600)
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    _account_keys(folder)
    etcd, server = _free_ports(2)
    kubeconfig = ["--kubeconfig", str(folder / "kubeconfig")]
    arguments = {
        "etcd": _etcd(folder, etcd),
        "kube-apiserver": _server(folder, etcd, server),
        "kube-controller-manager": [
            *kubeconfig,
            *("--leader-elect=false", "--secure-port=0"),
            *("--service-account-private-key-file", str(folder / "account.key")),
            f"--controllers={','.join(_CONTROLLERS)}",
        ],
        "kube-scheduler": [*kubeconfig, "--leader-elect=false", "--secure-port=0"],
        "kwok": [
            *kubeconfig,
            "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        ],
    }
    processes = {
        name: Process(name, [str(programs / name), *line], folder / f"{name}.log")
        for name, line in arguments.items()
    }
    return ControlPlane(folder, f"https://127.0.0.1:{server}", token, processes)


def _etcd(folder: Path, port: int) -> list[str]:
    address = f"http://127.0.0.1:{port}"
    return [
        *("--data-dir", str(folder / "etcd")),
        *(f"--listen-client-urls={address}", f"--advertise-client-urls={address}"),
        "--listen-peer-urls=http://127.0.0.1:0",
        "--unsafe-no-fsync",  # Nothing here outlives the processes.
    ]


def _server(folder: Path, etcd: int, port: int) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        *(f"--secure-port={port}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"),
        *("--cert-dir", str(folder / "certificates")),
        "--service-cluster-ip-range=10.0.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        *("--service-account-key-file", str(folder / "account.pub")),
        *("--service-account-signing-key-file", str(folder / "account.key")),
        *("--token-auth-file", str(folder / "tokens.csv")),
        "--authorization-mode=RBAC",
        "--allow-privileged=true",  # As in any cluster: it is Pod Security that refuses.
        # Its taint is taken off again by a controller that watches kubelets, and here are none.
        "--disable-admission-plugins=TaintNodesByCondition",
        "--endpoint-reconciler-type=none",
    ]


def _account_keys(folder: Path) -> None:
    """The pair that signs and checks the tokens of service accounts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "account.key").touch(mode=0o600)
    (folder / "account.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    (folder / "account.pub").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def _free_ports(count: int) -> list[int]:
    """Ports on loopback that were free a moment ago, all different."""
    with contextlib.ExitStack() as held:
        found = []
        for _ in range(count):
            listener = held.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            found.append(int(listener.getsockname()[1]))
        return found
