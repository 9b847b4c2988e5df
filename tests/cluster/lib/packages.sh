# Debian packages: which are needed for what, and installing only those that are missing.
# shellcheck shell=bash

PACKAGES_CONTROL_PLANE=(etcd-server jq openssl ca-certificates)
PACKAGES_NODE=(containerd runc containernetworking-plugins iptables conntrack iproute2 kmod mount procps busybox-static)
PACKAGES_POSTGRES_IMAGE=(postgresql-15 busybox-static jq)

package_present() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

install_packages() { # PACKAGE...
  local package missing=() start=$SECONDS as_root=()
  for package in "$@"; do package_present "$package" || missing+=("$package"); done
  if [ ${#missing[@]} = 0 ]; then echo "packages: all present"; return; fi
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "packages are missing; as root: apt-get install --no-install-recommends ${missing[*]}"
    as_root=(sudo)
  fi
  # Some of these packages start a daemon of their own (etcd, containerd, PostgreSQL). We run the programs, not the
  # services: this file is Debian's way to say that nothing is to be started during an installation.
  local policy=/usr/sbin/policy-rc.d policy_is_ours=''
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
    "${as_root[@]}" chmod 755 $policy
    policy_is_ours=1
  fi
  local log status=0
  log=$(mktemp)
  {
    "${as_root[@]}" apt-get update &&
      "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
  } >"$log" 2>&1 </dev/null || status=$?
  [ -z "$policy_is_ours" ] || "${as_root[@]}" rm -f $policy
  if [ $status != 0 ]; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "apt-get could not install: ${missing[*]}"
  fi
  rm -f "$log"
  echo "packages: installed ${missing[*]} in $((SECONDS - start)) s"
}

install_command() { if [ "$NAME" = node ]; then echo 'cluster install --node'; else echo 'cluster install'; fi; }

# What `up` runs or calls, so that a missing package is named before anything is started.
require_programs() { # PROGRAM...
  local program missing=()
  for program in "$@"; do command -v "$program" >/dev/null || missing+=("$program"); done
  [ ${#missing[@]} = 0 ] || fail "missing: ${missing[*]}; run \`$(install_command)\`"
}
