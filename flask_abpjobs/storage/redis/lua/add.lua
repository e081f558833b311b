-- Any number of records. Returns for each the id that is kept and whether it is new; or a missing parent.
local records = read_records(1, #ARGV / 7)
local missing = check_records(records)
if missing then return {'missing', missing} end
local now, kept = clock(), {'kept'}
for index, job in ipairs(records) do kept[2 * index], kept[2 * index + 1] = insert(job, now) end
return kept
