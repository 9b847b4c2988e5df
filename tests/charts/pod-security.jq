# Every way in which a pod template falls short of pod security `restricted` and of our own rules, a line each.
# Input: one object. https://kubernetes.io/docs/concepts/security/pod-security-standards/

def allowed_volumes: ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

def problems:
  . as $pod
  | (if .securityContext.runAsNonRoot != true then "runAsNonRoot is not true" else empty end),
    (if $assigned_user != "" then (if .securityContext | has("runAsUser") then "runAsUser is set, where the cluster assigns it" else empty end) elif (.securityContext.runAsUser // 0) == 0 then "runAsUser is root or left to the image" else empty end),
    (if .securityContext.seccompProfile.type != "RuntimeDefault" then "seccompProfile is not RuntimeDefault" else empty end),
    (if .hostNetwork or .hostPID or .hostIPC then "it shares a namespace with the host" else empty end),
    ((.volumes // [])[] | (keys - ["name"])[0] as $type
      | if allowed_volumes | index($type) then empty else "the volume \(.name) is a \($type)" end),
    (((.initContainers // []) + .containers)[]
      | .name as $container
      | (if .securityContext.allowPrivilegeEscalation != false then "allowPrivilegeEscalation is not false" else empty end),
        (if .securityContext.privileged then "it is privileged" else empty end),
        (if .securityContext.capabilities.drop != ["ALL"] or .securityContext.capabilities.add then "capabilities are not dropped" else empty end),
        (if .securityContext.runAsNonRoot == false or .securityContext.runAsUser == 0 then "it runs as root" else empty end),
        (if any((.ports // [])[]; .hostPort) then "it has a port of the host" else empty end),
        (if .securityContext.readOnlyRootFilesystem != true then "the root file system is writable" else empty end),
        (if .resources.requests.cpu == null or .resources.requests.memory == null or .resources.limits.memory == null
         then "a resource request, or the memory limit, is missing" else empty end),
        (if .image | test("@sha256:|:[^/]+$") then empty else "the image \(.image) has no tag" end)
      | "container \($container): \(.)");

select(.spec.template.spec.containers)
| "\(.kind) \(.metadata.name)" as $object
| .spec.template.spec | problems | "\($object): \(.)"
