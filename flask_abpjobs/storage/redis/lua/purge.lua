-- queue, reason, by (may be empty)
local by = ARGV[3] ~= '' and {b = ARGV[3]} or false
local now, moved = clock(), 0
local sources = {}
for _, kind in ipairs(call('SMEMBERS', P .. 'kinds')) do
  if parse_kind(kind).queue == ARGV[1] then sources[#sources + 1] = list_key(ENQUEUED, kind) end
end
local found = merge(sources, false, nil, nil, BATCH)
for _, each in ipairs(found) do
  local job = load(each.id)
  moved = moved + 1
  if job then move(job, DELETED, now, ARGV[2], by, {}) else call('ZREM', each.key, each.id) end
end
return moved
