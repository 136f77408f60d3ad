"""The CRM core: Tryton's server, with the database and the user that synchronisation logs in as."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from infra.targets.local import origin, postgres, replication
from infra.targets.local.probe import Http
from infra.targets.local.process import Process
from infra.targets.local.python import ENVIRONMENT, run_once
from infra.targets.local.secrets import CORE_ADMIN, CORE_SYNC
from infra.targets.local.site import HOST, Site
from infra.toolchain import tryton

PORTS = ("",)
DATABASE = tryton.DATABASE
SYNC_USER = "sync"
_PREPARE_SECONDS = 300.0
SPLIT = "crm.core.split.ReadsFromStandby"
# Of each pool; both may go to one server, which lets 60 in.
_CONNECTIONS = 24

# A line for each request would be most of its log, and some of its time.
LOGGING = """[loggers]
keys = root,werkzeug
[handlers]
keys = stderr
[formatters]
keys = line
[logger_root]
level = WARNING
handlers = stderr
[logger_werkzeug]
level = WARNING
handlers =
qualname = werkzeug
[handler_stderr]
class = StreamHandler
args = (sys.stderr,)
formatter = line
[formatter_line]
format = %(asctime)s %(levelname)s %(name)s: %(message)s
"""


def configuration(site: Site, name: str) -> str:
    """trytond.conf; the password stands in the file it names.

    Where there is a standby both servers stand in it, in an order that no failover changes: psycopg finds the
    one that takes writes, and for what only reads the standby. So the core follows a failover by itself.
    """
    members = sorted(replication.group(site.desired.topology, site.upstream(name, "database")))
    servers = ",".join(f"{HOST}:{site.port(each)}" for each in members)
    options = [f"passfile={quote(str(postgres.passfile(site, members[0])))}"]
    more = ""
    if len(members) > 1:
        # A lock is waited for so long: a writer that waits for a standby must not gather others behind it.
        # (Never statement_timeout: it would end the wait for the standby, and the commit would stand.)
        options += ["connect_timeout=3", f"options={quote('-c lock_timeout=4s')}"]
        uri = f"postgresql://{tryton.ROLE}@{servers}/?{'&'.join(options)}"
        more = f"reads = {uri}&target_session_attrs=prefer-standby\ndatabase_mixins = {SPLIT}\n"
        options.append("target_session_attrs=read-write")
    return f"""[database]
uri = postgresql://{tryton.ROLE}@{servers}/?{"&".join(options)}
{more}maxconn = {_CONNECTIONS}
path = {site.folder(name) / "attachments"}
list = False
[web]
listen = {site.address(name)}
[cache]
clean_timeout = 0
[session]
timeout = 86400
"""


def process(site: Site, name: str) -> Process:
    """trytond on its own port."""
    version = site.program("trytond").version
    return Process(
        command=(
            *(str(site.program("trytond").path), "-c", str(_config(site, name)), "-d", DATABASE),
            *("--logconf", str(site.folder(name) / "logging.conf")),
        ),
        address=f"http://{site.address(name)}",
        version=version,
        probe=Http(
            # The one call that needs no login.
            f"http://{site.address(name)}/rpc/",
            body='{"id": 0, "method": "common.server.version", "params": []}',
        ),
        environment=ENVIRONMENT,
        files={"trytond.conf": configuration(site, name), "logging.conf": LOGGING},
        ready_seconds=150,
    )


def prepare(site: Site, name: str, say: Callable[[str], None]) -> None:
    """Bring the database up to its modules and set this stack's passwords. Raises HuiduError."""
    command = [
        *(sys.executable, "-m", "crm.core.prepare", "--config", str(_config(site, name))),
        *("--database", DATABASE, "--sync-user", SYNC_USER),
        *("--admin-password-file", str(site.secrets.path(CORE_ADMIN))),
        *("--sync-password-file", str(site.secrets.path(CORE_SYNC))),
    ]
    run_once(name, "preparing the core", command, _PREPARE_SECONDS)
    origin.note(site, name)


def _config(site: Site, name: str) -> Path:
    return site.folder(name) / "trytond.conf"
