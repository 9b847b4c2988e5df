"""Calls an instance with a client that was generated from its OpenAPI document: client.py URL KEY."""

import sys

from checkstack_api_client import AuthenticatedClient
from checkstack_api_client.api.auth import (
    auth_create_application,
    auth_delete_application,
    auth_get_audit_records,
    auth_get_users,
    auth_who_am_i,
)
from checkstack_api_client.models import AuthCreateApplicationBody, AuthDeleteApplicationBody, Error

url, key = sys.argv[1:]
admin = AuthenticatedClient(base_url=url, token=key)

created = auth_create_application.sync(client=admin, body=AuthCreateApplicationBody(name="generated", roles=[]))
generated = AuthenticatedClient(base_url=url, token=created.key)
me = auth_who_am_i.sync(client=generated)
assert (me.type_, me.name, me.access_rules) == ("application", "generated", []), me

refused = auth_get_users.sync(client=generated, limit=1)
assert isinstance(refused, Error) and refused.code == "FORBIDDEN", refused
assert refused.message == "Missing access: auth.user.read", refused

page = auth_get_users.sync(client=admin, limit=1)
assert len(page.users) == 1, page

auth_delete_application.sync(client=admin, body=AuthDeleteApplicationBody(id=created.id))
records = auth_get_audit_records.sync(client=admin, limit=2).records
assert [record.action for record in records] == ["application.delete", "application.create"], records
