"""Which records are one person: keys under which they meet, groups, guards, ids that stay."""
