"""What was written, in one form: names, addresses, numbers, dates of any country, and the vocabulary of fields."""
