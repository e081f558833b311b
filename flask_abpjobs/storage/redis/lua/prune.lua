-- For succeeded, deleted and failed: seconds to keep (empty: no limit); then for each the most to keep
local states = {SUCCEEDED, DELETED, FAILED}
local now, removed = clock(), 0

local function remove_all(ids, index)
  for _, id in ipairs(ids) do
    local job = load(id)
    removed = removed + 1
    if job then remove(job, now) else call('ZREM', index, id) end
  end
end

local function oldest(key, till)
  return call('ZRANGEBYSCORE', key, '-inf', till, 'LIMIT', 0, BATCH - removed)
end

remove_all(oldest(P .. 'expiring', now), P .. 'expiring')
local kinds = call('SMEMBERS', P .. 'kinds')
for place, state in ipairs(states) do
  local seconds, most = tonumber(ARGV[place]), tonumber(ARGV[place + 3])
  local lists, total = {}, 0
  for _, kind in ipairs(kinds) do
    if not parse_kind(kind).has_retention then
      local list = list_key(state, kind)
      if seconds and removed < BATCH then remove_all(oldest(list, now - seconds), list) end
      lists[#lists + 1] = list
      total = total + call('ZCARD', list)
    end
  end
  if most and total > most and removed < BATCH then
    for _, each in ipairs(merge(lists, false, nil, nil, math.min(total - most, BATCH - removed))) do
      remove_all({each.id}, each.key)
    end
  end
end
return removed
