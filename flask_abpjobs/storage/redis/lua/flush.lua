-- Removes up to BATCH jobs of a state. state
local state, now = tonumber(ARGV[1]), clock()
local sources = {}
if state == PROCESSING then
  for _, server in ipairs(call('HKEYS', P .. 'servers')) do sources[#sources + 1] = P .. 'held:' .. server end
else
  for _, kind in ipairs(call('SMEMBERS', P .. 'kinds')) do sources[#sources + 1] = list_key(state, kind) end
end
local found = merge(sources, false, nil, nil, BATCH)
for _, each in ipairs(found) do
  local job = load(each.id)
  if job then remove(job, now) else call('ZREM', each.key, each.id) end
end
return #found
