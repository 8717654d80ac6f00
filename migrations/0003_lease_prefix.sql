-- A gateway's Engine.IO session ids begin with the first three characters of its node id, by which the other gateways find it: no two live gateways share them.
create unique index leases_prefix on leases (left(node_id, 3)) where state = 'live' and kind = 'realtime';
