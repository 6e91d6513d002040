-- What fired, what was decided: kept for a time (setting journey_kept_days). A replay of a log must not bring back what was
-- forgotten, so the moment before which firings were forgotten is kept.
alter table pattern_set add column forgotten_to timestamptz;
