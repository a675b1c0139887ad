#!/usr/bin/env bash
# Datasette 1.0 alphas: a plugin written for 0.65 loads, and three of its hooks are never called, without a word.
#
# One would guess: 1.0 took `permission_allowed`, `get_metadata` and `canned_queries` out, so a plugin that implements
#   them is refused when it is registered, or warned of; pluggy has `check_pending()` for exactly that.
# What is: it is registered, `/-/plugins.json` even lists the three dead hooks as the plugin's, nothing on
#   stderr names them, and the canned query that 0.65.5 serves is a 404. A plugin author learns of it from users.
# Source: datasette/hookspecs.py of both versions; docs.datasette.io, "Datasette 1.0a20 plugin upgrade guide".
#
# Exits 0 while that is so, 1 when it changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/plugins"
cd "$folder" # Python looks for plugins where it is started
cat > "$folder/plugins/old.py" <<'PY'
from datasette import hookimpl


@hookimpl
def permission_allowed(actor, action):
    return None


@hookimpl
def get_metadata(datasette):
    return {"title": "from the plugin"}


@hookimpl
def canned_queries(datasette, database):
    return {"one": "select 1 as one"}
PY
python3 -c "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('create table t (a)')" "$folder/data.db"

asked() { # VERSION: prints "status-of-the-query hooks-listed"
    python3 -m venv "$folder/$1"
    "$folder/$1/bin/pip" install -q --disable-pip-version-check "datasette==$1" 2> /dev/null
    "$folder/$1/bin/python" -W default - "$folder" 2> "$folder/said" <<'PY' | tail -n 1
import asyncio
import sys

from datasette.app import Datasette

folder = sys.argv[1]


async def ask():
    datasette = Datasette([f"{folder}/data.db"], plugins_dir=f"{folder}/plugins")
    await datasette.invoke_startup()
    query = await datasette.client.get("/data/one.json?_shape=array")
    plugins = (await datasette.client.get("/-/plugins.json")).json()
    if isinstance(plugins, dict):
        plugins = plugins["plugins"]
    (ours,) = [plugin for plugin in plugins if plugin["name"] == "old.py"]
    print(query.status_code, ",".join(sorted(ours["hooks"])))


asyncio.run(ask())
PY
}

old=$(asked 0.65.5)
new=$(asked 1.0a41)
warned=$(grep -ciE "permission_allowed|get_metadata|canned_queries|hook" "$folder/said" || true)
echo "datasette 0.65.5: canned query and hooks listed: $old"
echo "datasette 1.0a41: canned query and hooks listed: $new; lines on stderr that name a hook: $warned"
[[ $old == "200 canned_queries,get_metadata,permission_allowed" ]] || exit 1
[[ $new == "404 canned_queries,get_metadata,permission_allowed" && $warned == 0 ]] || exit 1
