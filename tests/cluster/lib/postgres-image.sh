# PostgreSQL 15 as an image, from Debian's installed package.
# shellcheck shell=bash
# It takes the place of the official `postgres` image where there is no registry, see postgres-entrypoint, and runs under pod
# security `restricted` with a read-only root: user 65532, writable volumes on /var/lib/postgresql/data, /var/run/postgresql, /tmp.

POSTGRES_HOME=/usr/lib/postgresql/15
POSTGRES_IMAGE=localhost/checkstack/postgres:15

pack_postgres_image() { # OUT.tar
  [ $# = 1 ] || fail 'postgres-image: usage: postgres-image OUT.tar'
  [[ -x $POSTGRES_HOME/bin/postgres && -x /bin/busybox ]] ||
    fail "PostgreSQL 15 or busybox is missing; run \`cluster install --tools postgres-image\`"
  local out=$1 root work
  mkdir -p "$(dirname "$out")"
  work=$(mktemp -d "$out.XXXXXX")
  root=$work/rootfs
  (
    set -euo pipefail
    trap 'rm -rf "$work"' EXIT
    make_base_rootfs "$root" postgres /var/lib/postgresql /bin/sh
    mkdir -p "$root"/{bin,run/postgresql,usr/local/bin,var/lib/postgresql/data,usr/lib/postgresql,usr/lib/locale,usr/share/postgresql}
    cp -a $POSTGRES_HOME "$root/usr/lib/postgresql/"
    rm -rf "$root$POSTGRES_HOME"/lib/{bitcode,llvmjit*,pgxs} # compilation at run time, and the means to build extensions
    cp -a /usr/share/postgresql/15 "$root/usr/share/postgresql/"
    cp -a /usr/share/zoneinfo "$root/usr/share/"
    cp -a /usr/lib/locale/C.utf8 "$root/usr/lib/locale/"
    find "$root$POSTGRES_HOME" -type f \( -perm -100 -o -name '*.so' \) | while read -r program; do
      copy_libraries "$root" "$program"
    done
    # A shell, for the entrypoint and for probes.
    install -m 755 /bin/busybox "$root/bin/busybox"
    for applet in sh cat mkdir chmod mv rm sed env id ls test; do ln -s busybox "$root/bin/$applet"; done
    install -m 755 "$here/postgres-entrypoint" "$root/usr/local/bin/docker-entrypoint.sh" # the official image's name for it
    ln -s ../run "$root/var/run"                                                          # where Debian's programs look for the socket
    chmod 1777 "$root/var/lib/postgresql/data" "$root/run/postgresql"
    # SIGINT is PostgreSQL's fast shutdown; on SIGTERM it would wait until every client has gone.
    pack_image $POSTGRES_IMAGE "$root" "$out" --stop-signal SIGINT --env PGDATA=/var/lib/postgresql/data/pgdata --env LANG=C.UTF-8 \
      --env PATH=$POSTGRES_HOME/bin:/usr/local/bin:/usr/bin:/bin /usr/local/bin/docker-entrypoint.sh
  ) || fail 'postgres-image: failed'
}
