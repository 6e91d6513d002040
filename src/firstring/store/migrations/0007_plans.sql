-- The read of the ring path is planned once a connection. Left to itself, PostgreSQL plans its six statements anew at every
-- call, because arrays of unknown length look dear to a plan that is kept: .6 ms of planning for .25 ms of reading.
-- A plan that is kept must not be one for tables as small as they were when it was made: it walks indexes in any case.
alter function ring_read(int, bytea[], bigint[], text, int, int, int, int, int, int)
  set plan_cache_mode = 'force_generic_plan'
  set enable_seqscan = 'off' set enable_hashjoin = 'off' set enable_mergejoin = 'off' set enable_bitmapscan = 'off';
