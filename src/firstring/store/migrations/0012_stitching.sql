-- stitching: in the making.
select 1;
