-- What agents were shown in contacts counts for caps like what went out: one row for each contact that was served, with the
-- contact's own id. Nothing is learned of it, and nothing sealed: the contact's decisions hold what it was derived from.
alter table action_decision drop constraint action_decision_cause_check;
alter table action_decision add constraint action_decision_cause_check check (cause in ('pattern', 'timer', 'hand', 'contact'));
