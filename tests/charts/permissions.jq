# Every way in which a Role or ClusterRole allows more than an operator needs, a line each. Input: one object.
select(.kind == "Role" or .kind == "ClusterRole")
| "\(.kind) \(.metadata.name)" as $role
| .rules[]
| (if any(.apiGroups[], .resources[], .verbs[]; . == "*") then "a wildcard" else empty end),
  (if (.resources | index("secrets")) and (.verbs - ["get", "create", "update", "patch", "delete"] != []) then "secrets: \(.verbs)" else empty end),
  (if any(.verbs[]; . == "escalate" or . == "bind" or . == "impersonate" or . == "deletecollection") then "\(.verbs)" else empty end),
  (if any(.resources[]; . == "pods/exec" or . == "serviceaccounts/token" or . == "nodes") then "\(.resources)" else empty end),
  (if any(.resources[]; startswith("role") or startswith("clusterrole")) then "\(.resources)" else empty end)
| "\($role) allows \(.)"
