# Container images without a registry or a daemon: a folder becomes an archive, an archive goes into the node.
# shellcheck shell=bash
# The archives are what `docker load`, `podman load` and `ctr images import` take.

pack_image() { # NAME:TAG ROOTFS_DIR OUT.tar [--env K=V]... [--user UID:GID] [--workdir DIR] [--stop-signal NAME] ENTRYPOINT [ARG...]
  [ $# -ge 4 ] || fail 'image: usage: image NAME:TAG ROOTFS_DIR OUT.tar [--env K=V]... [--user UID:GID] [--workdir DIR] [--stop-signal NAME] ENTRYPOINT [ARG...]'
  local name=$1 root=$2 out=$3 environment=() user=65532:65532 workdir=/ stop_signal=SIGTERM work layer config
  shift 3
  while [ $# -gt 0 ]; do
    case $1 in
      --env) environment+=("${2:?--env needs K=V}"); shift 2 ;;
      --user) user=${2:?--user needs UID:GID}; shift 2 ;;
      --workdir) workdir=${2:?--workdir needs a folder}; shift 2 ;;
      --stop-signal) stop_signal=${2:?--stop-signal needs a name}; shift 2 ;;
      --) shift; break ;;
      -*) fail "image: no such option: $1" ;;
      *) break ;;
    esac
  done
  [ $# -gt 0 ] || fail 'image: no entrypoint'
  [ -d "$root" ] || fail "image: no such folder: $root"
  # A kubelet takes a name without a host for one in a public registry, and would not find what was loaded.
  [[ $name =~ ^[a-z0-9.-]+(:[0-9]+)?/[a-z0-9._/-]+:[A-Za-z0-9._-]+$ ]] || fail "image: the name must be HOST/NAME:TAG, e.g. localhost/checkstack/core:dev: $name"
  [ -f "$root$1" ] || [ -L "$root$1" ] || fail "image: the entrypoint $1 is not in $root"

  mkdir -p "$(dirname "$out")"
  work=$(mktemp -d "$out.XXXXXX") # beside the result: it may be too big for /tmp, and is moved at the end
  (
    set -euo pipefail # an `if` or `||` around the call would switch it off
    trap 'rm -rf "$work"' EXIT
    # The same folder gives the same bytes: order, owner, times and format are fixed.
    archive() { tar --format=gnu --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --hard-dereference "$@"; }
    archive -C "$root" -cf "$work/layer.tar" .
    layer=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
    jq -nc --arg layer "sha256:$layer" --arg user "$user" --arg workdir "$workdir" --arg stop "$stop_signal" --arg architecture "$(image_architecture)" \
      --argjson environment "$(jq -nc '$ARGS.positional' --args -- "${environment[@]}")" '{
        created: "1970-01-01T00:00:00Z", architecture: $architecture, os: "linux",
        config: {Entrypoint: $ARGS.positional, User: $user, WorkingDir: $workdir, StopSignal: $stop,
          Env: (if any($environment[]; startswith("PATH=")) then $environment
                else ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] + $environment end)},
        rootfs: {type: "layers", diff_ids: [$layer]},
        history: [{created: "1970-01-01T00:00:00Z", created_by: "checkstack tests/cluster"}]
      }' --args -- "$@" >"$work/config.json"
    config=$(sha256sum "$work/config.json" | cut -d' ' -f1)
    mv "$work/config.json" "$work/$config.json"
    jq -nc --arg config "$config.json" --arg name "$name" '[{Config: $config, RepoTags: [$name], Layers: ["layer.tar"]}]' >"$work/manifest.json"
    chmod 644 "$work"/*
    archive -C "$work" -cf "$work/image.tar" manifest.json "$config.json" layer.tar
    mv "$work/image.tar" "$out"
  ) || fail "image: could not pack $name"
  echo "$name: $out, $(($(stat -c %s "$out") / 1024 / 1024)) MB"
}

image_architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) uname -m ;;
  esac
}

# Copies the shared libraries of a program, and the loader, to where the program looks for them.
copy_libraries() { # ROOT PROGRAM
  local root=$1 program=$2 listing library
  listing=$(ldd "$program" 2>&1) || {
    case $listing in *'not a dynamic executable'* | *'statically linked'*) return 0 ;; esac
    fail "ldd $program: $listing"
  }
  case $listing in *'not found'*) fail "a library of $program is missing: $(grep 'not found' <<<"$listing")" ;; esac
  grep -o '/[^ )]*' <<<"$listing" | while read -r library; do
    [ -e "$root$library" ] || install -D -m 755 "$library" "$root$library"
  done || true # a static program lists none
}

# What every image has, whatever runs in it. /etc/nsswitch.conf: without it glibc asks DNS before /etc/hosts.
make_base_rootfs() { # ROOT USER HOME SHELL
  local root=$1 user=$2 home=$3 shell=$4
  install -d -m 755 "$root" "$root/etc/ssl/certs" "$root$home"
  install -d -m 1777 "$root/tmp"
  install -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  printf 'root:x:0:0:root:/root:%s\n%s:x:65532:65532:%s:%s:%s\n' "$shell" "$user" "$user" "$home" "$shell" >"$root/etc/passwd"
  printf 'root:x:0:\n%s:x:65532:\n' "$user" >"$root/etc/group"
  printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
}

require_empty() { # DIR: never delete a folder that somebody named by mistake
  [ ! -e "$1" ] || [ -z "$(ls -A "$1")" ] || fail "not an empty folder: $1"
}

make_binary_rootfs() { # [--strip] DIR BINARY...
  local strip='' root binary
  if [ "${1:-}" = --strip ]; then strip=1; shift; fi
  [ $# -ge 2 ] || fail 'binary-rootfs: usage: binary-rootfs [--strip] DIR BINARY...'
  root=$1
  shift
  require_empty "$root"
  make_base_rootfs "$root" nonroot /home/nonroot /sbin/nologin
  for binary in "$@"; do
    [[ -f $binary && -x $binary ]] || fail "not a program: $binary"
    install -D -m 755 "$binary" "$root/usr/local/bin/$(basename "$binary")"
    # Debug information makes the image several times as big; names for backtraces stay.
    [ -z "$strip" ] || strip --strip-debug "$root/usr/local/bin/$(basename "$binary")"
    copy_libraries "$root" "$binary"
  done
}

load_images() { # FILE.tar...
  [ $# -gt 0 ] || fail 'load-image: usage: load-image FILE.tar...'
  [ "$(mode_of "$RUN")" = node ] || fail "load-image: the cluster $NAME runs no containers"
  is_running containerd || fail "load-image: containerd is not running"
  local file out
  for file in "$@"; do
    [ -f "$file" ] || fail "load-image: no such file: $file"
    begin_laps
    out=$(in_containerd images import "$file" 2>&1) || fail "load-image: $file: $out"
    lap "loaded $(awk '$1 == "unpacking" { print $2 }' <<<"$out" | paste -sd' ') from $file"
  done
}
