-- id, version that was read, scope of its tenant, next time (empty: none), recurring job, then records
local id, version = ARGV[1], ARGV[2]
local head = call('HGET', P .. 'recurring:heads', id)
if (head and string.match(head, '^(%d+):') or '0') ~= version then return 0 end
local records = read_records(6, (#ARGV - 5) / 7)
local missing = check_records(records)
if missing then return {'missing', missing} end
local now = clock()
call('HSET', P .. 'recurring', id, ARGV[5])
call('HSET', P .. 'recurring:heads', id, string.format('%d:%s', tonumber(version) + 1, ARGV[3]))
if ARGV[4] ~= '' then
  call('ZADD', P .. 'recurring:due', ARGV[4], id)
else
  call('ZREM', P .. 'recurring:due', id)
end
for _, job in ipairs(records) do insert(job, now) end
return 1
