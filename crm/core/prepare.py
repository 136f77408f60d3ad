"""Make Tryton's database for the core, or reset its passwords: `python -m crm.core.prepare`.

The first time takes about a minute of CPU (Tryton creates some 250 tables); on a database that is prepared it
only sets both passwords, which takes about two seconds. So a prepared data folder can be kept and copied.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import psycopg

MODULES = ("party", "sale_opportunity", "marketing", "huidu_touchpoint")
ADMIN_EMAIL = ""  # Tryton would otherwise ask for one on the terminal


def secret(file: Path) -> str:
    """The password in `file`: its first line."""
    password = file.read_text(encoding="utf-8").splitlines()[:1]
    if not password or not password[0].strip():
        raise ValueError(f"{file}: the first line must be a password")
    return password[0].strip()


def create_database(name: str) -> None:
    """An empty database of this name on the server of Tryton's configuration, unless it is there."""
    from trytond import config

    uri = config.parse_uri(config.get("database", "uri"))
    server = uri._replace(scheme="postgresql", path="/postgres").geturl()
    with psycopg.connect(server, autocommit=True, connect_timeout=10) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
        if found is None:
            statement = psycopg.sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'unicode'")
            connection.execute(statement.format(psycopg.sql.Identifier(name)))


def missing_modules(name: str) -> list[str]:
    """Those of MODULES that are not active in the database; all of them when it is empty."""
    from trytond import config

    uri = config.parse_uri(config.get("database", "uri"))
    server = uri._replace(scheme="postgresql", path=f"/{name}").geturl()
    with psycopg.connect(server, connect_timeout=10) as connection:
        if connection.execute("SELECT to_regclass('ir_module')").fetchone() == (None,):
            return list(MODULES)
        rows = connection.execute("SELECT name FROM ir_module WHERE state = 'activated'").fetchall()
    return [module for module in MODULES if (module,) not in rows]


def activate(name: str, modules: list[str], admin_password_file: Path) -> None:
    """What `trytond-admin --update ... --activate-dependencies` does, without asking anything."""
    from trytond import admin

    os.environ["TRYTONPASSFILE"] = str(admin_password_file)  # read by trytond.admin; the path, not the secret
    options = dict.fromkeys(("languages", "validate", "hostname", "reset_password", "test_email"))
    options |= {"languages": [], "export_translations": False, "update_modules_list": True, "indexes": True}
    admin.run(
        argparse.Namespace(
            **options,
            database_names=[name],
            update=modules,
            activatedeps=True,
            login="admin",
            administrator=True,
            email=ADMIN_EMAIL,
            password=True,
            active=True,
            validate_percentage=100,
        )
    )


def set_users(name: str, admin_password: str, sync_user: str, sync_password: str) -> None:
    """Both passwords, and the synchronisation's user with the one group it needs."""
    from trytond.pool import Pool
    from trytond.transaction import Transaction

    pool = Pool(name)
    with Transaction().start(name, 0, readonly=True):
        pool.init()
    with Transaction().start(name, 0, context={"active_test": False}):
        user_model: Any = pool.get("res.user")
        data: Any = pool.get("ir.model.data")
        admin_id = user_model.search([("login", "=", "admin"), ("id", "!=", 0)])
        user_model.write(admin_id, {"password": admin_password})
        group = data.get_id("huidu_touchpoint", "group_synchronisation")
        values = {"password": sync_password, "active": True, "groups": [("add", [group])]}
        found = user_model.search([("login", "=", sync_user)])
        if found:
            user_model.write(found, values)
        else:
            user_model.create([{"login": sync_user, "name": "Touchpoint synchronisation", **values}])
        # Whoever was logged in with an old password is not any more.
        for sessions in (pool.get("ir.session"), pool.get("res.user.login.attempt")):
            sessions.delete(sessions.search([]))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m crm.core.prepare", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="trytond.conf")
    parser.add_argument("--database", required=True)
    parser.add_argument("--admin-password-file", type=Path, required=True)
    parser.add_argument("--sync-user", required=True)
    parser.add_argument("--sync-password-file", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        admin_password, sync_password = (
            secret(options.admin_password_file),
            secret(options.sync_password_file),
        )
        # Tryton reads its configuration when it is imported: everything else of it comes after this.
        from trytond import config

        config.update_etc([str(options.config)])
        create_database(options.database)
        modules = missing_modules(options.database)
        if modules:
            print(f"prepare: activating {', '.join(modules)}: about a minute", flush=True)
            activate(options.database, modules, options.admin_password_file)
        set_users(options.database, admin_password, options.sync_user, sync_password)
    except (OSError, ValueError, psycopg.Error) as error:
        print(f"crm.core.prepare: {error}", file=sys.stderr)
        return 1
    print(f"prepare: {options.database} is ready ({', '.join(MODULES)})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
