"""The PostgreSQL server itself: embedded start and stop, migrations."""
