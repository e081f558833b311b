-- Takes up to BATCH of Huey's raw items that are due. seconds
local key = P .. 'raw:schedule'
local due = call('ZRANGEBYSCORE', key, '-inf', ARGV[1], 'LIMIT', 0, BATCH)
if #due > 0 then call('ZREM', key, unpack(due)) end
return due
