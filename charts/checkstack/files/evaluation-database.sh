# What the evaluation database's containers run: `initialise`, `serve`, `ready`, `stop` or `psql`.
# It needs nothing but a shell, chmod, mkdir, rm and the PostgreSQL programs, wherever the image has them.
set -eu
for bin in /usr/lib/postgresql/*/bin; do
  [ ! -x "$bin/initdb" ] || PATH=$bin:$PATH
done

# One statement a line, without a server; an error ends it.
run_sql() {
  postgres --single -c exit_on_error=true -c log_checkpoints=off -D "$PGDATA" postgres >/dev/null
}

case $1 in
  initialise)
    case $DATABASE_PASSWORD in
      '' | *[!A-Za-z0-9._~-]*) echo 'the password must be of letters, digits and . _ ~ -' >&2; exit 1 ;;
    esac
    # The marker is written last: what an interrupted start left behind is made anew.
    if [ ! -e "$PGDATA/checkstack-initialised" ]; then
      rm -rf "$PGDATA"
      mkdir -p "$PGDATA"
      chmod 700 "$PGDATA"
      initdb --pgdata "$PGDATA" --username postgres --encoding UTF8 --locale C.UTF-8 \
        --auth-local peer --auth-host scram-sha-256 --no-instructions
      # Every plugin has a login role of its own, so every role may come, from any pod, with its password.
      echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
      # No superuser; CREATEROLE, because the core server makes the plugins' roles.
      run_sql <<SQL
CREATE ROLE checkstack LOGIN CREATEROLE
CREATE DATABASE checkstack OWNER checkstack
SQL
      : >"$PGDATA/checkstack-initialised"
    fi
    # Where a volume has a group (fsGroup), the kubelet opens its folders to the group at each mount; PostgreSQL refuses that.
    chmod 700 "$PGDATA"
    # At each start, so that a changed Secret counts.
    run_sql <<SQL
ALTER ROLE checkstack PASSWORD '$DATABASE_PASSWORD'
SQL
    ;;
  serve)
    exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp
    ;;
  ready)
    exec pg_isready --quiet --host /tmp --username postgres --dbname postgres
    ;;
  stop)
    # Without waiting for clients to leave, which is what PostgreSQL does on SIGTERM.
    exec pg_ctl stop --pgdata "$PGDATA" --mode fast --no-wait
    ;;
  psql) # for a person: as superuser
    exec psql --host /tmp --username postgres checkstack
    ;;
  *)
    echo "not a command: $1" >&2
    exit 2
    ;;
esac
