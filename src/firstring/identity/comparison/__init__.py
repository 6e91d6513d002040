"""What is compared of two records: fields, levels and keys as data, records as columns, pairs to levels."""
