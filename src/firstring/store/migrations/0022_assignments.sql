-- Who had a contact, long after: for what came of it, for the share of the time that agents were busy, for lists of contacts.
create index assignment_of_contact on assignment (tenant_id, contact_id);
