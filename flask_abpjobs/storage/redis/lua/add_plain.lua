-- One job that is ready at once and has no unique key: what add.lua does, with all names worked out by Python, for
-- nothing is called as often. id, elements 0 to 4, first entry, queue, kind, place, -priority, state_at, tenant (or empty)
local id, key, queue, tenant = ARGV[1], P .. 'job:' .. ARGV[1], ARGV[8], ARGV[13]
if call('EXISTS', key) == 1 then return 0 end
local ready, list, wake, counts = P .. 'ready:' .. queue, P .. 'by:enqueued:' .. ARGV[9], P .. 'wake:' .. queue, P .. 'counts'
-- As check_indexes: a foreign key raises WRONGTYPE before anything is written
call('HLEN', counts)
call('SCARD', P .. 'kinds')
call('ZCARD', ready)
call('ZCARD', list)
local tokens = call('LLEN', wake)
call('RPUSH', key, ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7])
call('ZADD', ready, ARGV[11], ARGV[10])
call('SADD', P .. 'kinds', ARGV[9])
call('ZADD', list, ARGV[12], id)
if tenant ~= '' then
  call('ZADD', P .. 'tenant:enqueued:' .. tenant, ARGV[12], id)
  counts = P .. 'counts:of:' .. tenant
  call('HINCRBY', P .. 'counts:tenants', 'created', 1)
  call('HINCRBY', P .. 'counts:tenants', 'q:' .. queue, 1)
end
call('HINCRBY', counts, 'created', 1)
call('HINCRBY', counts, 'q:' .. queue, 1)
if tokens < tonumber(ARGV[14]) and call('SISMEMBER', P .. 'paused', queue) == 0 then call('RPUSH', wake, '1') end
return 1
