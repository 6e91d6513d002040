"""What have they been through? Canonical events, open issues, the timeline of a person, the likely reasons."""
