-- For succeeded, deleted and failed: seconds to keep (empty: no limit); then for each the most to keep
local states = {SUCCEEDED, DELETED, FAILED}
local now, moved = clock(), 0

local function remove_all(ids, index)
  for _, id in ipairs(ids) do
    if moved >= BATCH then return end
    local job = load(id)
    if job then
      moved = moved + remove(job, now)
    else
      call('ZREM', index, id)
      moved = moved + 1
    end
  end
end

local function remove_older(index, till)
  if moved < BATCH then
    remove_all(call('ZRANGEBYSCORE', index, '-inf', till, 'LIMIT', 0, BATCH - moved), index)
  end
end

remove_older(P .. 'expiring', now)
local kinds = call('SMEMBERS', P .. 'kinds')
for place, state in ipairs(states) do
  local seconds, most = tonumber(ARGV[place]), tonumber(ARGV[place + 3])
  local lists, total = {}, 0
  for _, kind in ipairs(kinds) do
    if not parse_kind(kind).has_retention then
      local list = list_key(state, kind)
      if seconds then remove_older(list, now - seconds) end
      lists[#lists + 1] = list
      total = total + call('ZCARD', list)
    end
  end
  if most and total > most and moved < BATCH then
    for _, each in ipairs(merge(lists, false, nil, nil, math.min(total - most, BATCH))) do
      remove_all({each.id}, each.key)
    end
  end
end
return moved
