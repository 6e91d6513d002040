-- What is compared of a record, kept beside it in the form in which it is compared (identity/comparison/rows.py), under the
-- record's own data key: a record that is met again is not brought to its form anew. Null: it is made of what is sealed.
alter table record add column compared bytea;
