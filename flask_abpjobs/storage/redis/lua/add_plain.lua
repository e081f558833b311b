-- Jobs that are ready at once and have no unique key: what add.lua does, with all names worked out by Python, for
-- nothing is called as often. The most tokens; then for each job: id, elements 0 to 4, first entry, queue, kind, place,
-- -priority, state_at, tenant (or empty). Returns for each whether it is new.
local most, added, checked = tonumber(ARGV[1]), {}, nil
local kinds = P .. 'kinds'

for at = 2, #ARGV, 13 do
  -- As check_indexes: a foreign key raises WRONGTYPE before anything is written
  local queue = ARGV[at + 7]
  if queue ~= checked then
    call('HLEN', P .. 'counts')
    call('SCARD', kinds)
    call('ZCARD', P .. 'ready:' .. queue)
    call('LLEN', P .. 'wake:' .. queue)
    checked = queue
  end
  call('ZCARD', P .. 'by:enqueued:' .. ARGV[at + 8])
end

for at = 2, #ARGV, 13 do
  local id, queue, kind, tenant = ARGV[at], ARGV[at + 7], ARGV[at + 8], ARGV[at + 12]
  local key, counts, wake = P .. 'job:' .. id, P .. 'counts', P .. 'wake:' .. queue
  if call('EXISTS', key) == 1 then
    added[#added + 1] = 0
  else
    call('RPUSH', key, unpack(ARGV, at + 1, at + 6))
    call('ZADD', P .. 'ready:' .. queue, ARGV[at + 10], ARGV[at + 9])
    call('SADD', kinds, kind)
    call('ZADD', P .. 'by:enqueued:' .. kind, ARGV[at + 11], id)
    if tenant ~= '' then
      call('ZADD', P .. 'tenant:enqueued:' .. tenant, ARGV[at + 11], id)
      counts = P .. 'counts:of:' .. tenant
      call('HINCRBY', P .. 'counts:tenants', 'created', 1)
      call('HINCRBY', P .. 'counts:tenants', 'q:' .. queue, 1)
    end
    call('HINCRBY', counts, 'created', 1)
    call('HINCRBY', counts, 'q:' .. queue, 1)
    if call('LLEN', wake) < most and call('SISMEMBER', P .. 'paused', queue) == 0 then call('RPUSH', wake, '1') end
    added[#added + 1] = 1
  end
end
return added
