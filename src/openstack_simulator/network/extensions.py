"""Neutron's extensions that the simulator has, as far as clients ask before they use one."""

EXTENSIONS = [
    {"alias": alias, "name": name, "description": name, "updated": "2020-01-01T00:00:00-00:00", "links": []}
    for alias, name in (
        ("address-scope", "Address scope"),
        ("agent", "agent"),
        ("allowed-address-pairs", "Allowed Address Pairs"),
        ("availability_zone", "Availability Zone"),
        ("binding", "Port Binding"),
        ("default-subnetpools", "Default Subnetpools"),
        ("external-net", "Neutron external network"),
        ("extraroute", "Neutron Extra Route"),
        ("extraroute-atomic", "Atomically add/remove extra routes"),
        ("filter-validation", "Filter parameters validation"),
        ("net-mtu", "Network MTU"),
        ("net-mtu-writable", "Network MTU (writable)"),
        ("network_availability_zone", "Network Availability Zone"),
        ("pagination", "Pagination support"),
        ("port-security", "Port Security"),
        ("project-id", "project_id field enabled"),
        ("provider", "Provider Network"),
        ("quota_details", "Quota details management support"),
        ("quotas", "Quota management support"),
        ("rbac-policies", "RBAC Policies"),
        ("router", "Neutron L3 Router"),
        ("router_availability_zone", "Router Availability Zone"),
        ("security-group", "security-group"),
        ("sorting", "Sorting support"),
        ("standard-attr-description", "standard-attr-description"),
        ("standard-attr-revisions", "Resource revision numbers"),
        ("standard-attr-tag", "Tag support for resources with standard attribute"),
        ("standard-attr-timestamp", "Resource timestamps"),
        ("stateful-security-group", "Stateful security group"),
    )
]
