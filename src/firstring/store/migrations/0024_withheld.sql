-- What recognising callers is worth, and learning by expectation.

alter table routing_outcome
  add column withholdable boolean not null default false, -- recognised when it was offered, and might have been withheld
  add column withheld boolean not null default false,     -- it was: nobody was told who it is
  add column cases jsonb not null default '[]';           -- whom it may have been and why, with probabilities; [] where that is
                                                          -- what the other columns say, for certain
