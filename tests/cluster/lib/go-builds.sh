# Kubernetes, helm and CoreDNS, built from their Go modules into the cache.
# shellcheck shell=bash
# A folder in tools/ is a Go module that pins one family; `tools/pin` writes it. They are separate because their
# dependencies conflict. go.sum holds the checksums, so what is built is what was reviewed, whatever proxy serves it.

GO_TOOLS=$here/tools
KUBERNETES_CONTROL_PLANE=(kube-apiserver kubectl)
KUBERNETES_NODE=(kube-controller-manager kube-scheduler kubelet kube-proxy)

family_of() { # PROGRAM
  case $1 in
    kube-apiserver | kube-controller-manager | kube-scheduler | kubelet | kube-proxy | kubectl) echo kubernetes ;;
    helm | coredns) echo "$1" ;;
    *) fail "no such tool: $1" ;;
  esac
}

go_module_of() { # FAMILY
  case $1 in
    kubernetes) echo k8s.io/kubernetes ;;
    helm) echo helm.sh/helm/v4 ;;
    coredns) echo github.com/coredns/coredns ;;
  esac
}

go_package_of() { # PROGRAM
  case $1 in
    helm) echo helm.sh/helm/v4/cmd/helm ;;
    coredns) echo github.com/coredns/coredns ;;
    *) echo "k8s.io/kubernetes/cmd/$1" ;;
  esac
}

# As a release calls itself: Kubernetes 1.35.4, but helm v4.3.1.
pinned_version() { # PROGRAM
  local family version
  family=$(family_of "$1")
  version=$(awk -v module="$(go_module_of "$family")" '{ sub(/^require /, ""); sub(/^[ \t]+/, "") } $1 == module { print $2; exit }' "$GO_TOOLS/$family/go.mod")
  if [ "$family" = kubernetes ]; then version=${version#v}; fi
  echo "$version"
}

built_version() { cat "$BIN/.$1.version" 2>/dev/null || true; } # PROGRAM

is_built() { [ -x "$BIN/$1" ] && [ "$(built_version "$1")" = "$(pinned_version "$1")" ]; } # PROGRAM

build_program() { # PROGRAM
  local program=$1 start=$SECONDS version flags='-s -w' family
  version=$(pinned_version "$program")
  family=$(family_of "$program")
  if is_built "$program"; then echo "$program $version: present"; return; fi
  command -v go >/dev/null || fail "no Go toolchain to build $program with: install $(grep '^go ' "$GO_TOOLS/$family/go.mod") or newer (https://go.dev/dl)"
  if [ "$family" = kubernetes ]; then
    # Without these every component calls itself v0.0.0, and clients that look at the version fail.
    local minor=${version#1.} symbol
    minor=${minor%%.*}
    for symbol in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
      flags+=" -X $symbol.gitVersion=v$version -X $symbol.gitMajor=1 -X $symbol.gitMinor=$minor -X $symbol.gitTreeState=clean"
    done
  fi
  mkdir -p "$BIN"
  echo "$program $version: building ..."
  # The user's Go settings must not decide what is built: no workspace, no vendoring, no change to go.mod.
  (cd "$GO_TOOLS/$family" && GOWORK=off CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -ldflags "$flags" -o "$BIN/.$program.new" "$(go_package_of "$program")") ||
    fail "$program $version did not build"
  rm -f "$BIN/.$program.version"
  mv "$BIN/.$program.new" "$BIN/$program"
  echo "$version" >"$BIN/.$program.version"
  echo "$program $version: built in $((SECONDS - start)) s"
}

require_builds() { # PROGRAM...
  local program missing=()
  for program in "$@"; do is_built "$program" || missing+=("$program"); done
  [ ${#missing[@]} = 0 ] || fail "not built at the pinned version: ${missing[*]}; run \`$(install_command)\`"
}

install_everything() { # [--control-plane] [--node] [--tools NAME,...]
  local control_plane='' node='' tools=() tool packages=() programs=() start=$SECONDS
  [ $# != 0 ] || control_plane=1
  while [ $# -gt 0 ]; do
    case $1 in
      --control-plane) control_plane=1; shift ;;
      --node) control_plane=1 node=1; shift ;;
      --tools) IFS=, read -ra tools <<<"${2:?--tools needs a list}"; shift 2 ;;
      --tools=*) IFS=, read -ra tools <<<"${1#*=}"; shift ;;
      *) fail "install: no such option: $1" ;;
    esac
  done
  if [ -n "$control_plane" ]; then
    packages+=("${PACKAGES_CONTROL_PLANE[@]}")
    programs+=("${KUBERNETES_CONTROL_PLANE[@]}")
  fi
  if [ -n "$node" ]; then
    packages+=("${PACKAGES_NODE[@]}")
    programs+=("${KUBERNETES_NODE[@]}" coredns)
  fi
  for tool in "${tools[@]}"; do
    if [ "$tool" = postgres-image ]; then packages+=("${PACKAGES_POSTGRES_IMAGE[@]}"); else
      family_of "$tool" >/dev/null
      programs+=("$tool")
    fi
  done
  mkdir -p "$CLUSTER_HOME"
  exec 9>"$CLUSTER_HOME/.install.lock"
  flock 9 # a second install waits, then finds everything present
  if [ ${#packages[@]} != 0 ]; then install_packages "${packages[@]}"; fi
  for tool in "${programs[@]}"; do build_program "$tool"; done
  echo "install: $((SECONDS - start)) s"
}
