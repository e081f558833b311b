-- Several sorted lists read as one

local CHUNK = 32

local function rank_after(key, at, id, is_descending)
  -- The rank of the first member beyond a place, in the direction of reading. Members of one score are by name, so the
  -- place is found by halving, whether or not its job is still in the list.
  local low = call('ZCOUNT', key, '-inf', '(' .. at)
  local high = low + call('ZCOUNT', key, at, at)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local member = call('ZRANGE', key, middle, middle)[1]
    if member < id or (member == id and not is_descending) then low = middle + 1 else high = middle end
  end
  return is_descending and low - 1 or low
end

local function fill(source, is_descending)
  local from = source.rank
  local found
  if is_descending then
    if from < 0 then return false end
    local till = math.max(0, from - CHUNK + 1)
    found = call('ZRANGE', source.key, till, from, 'WITHSCORES')
    source.rank = till - 1
  else
    found = call('ZRANGE', source.key, from, from + CHUNK - 1, 'WITHSCORES')
    source.rank = from + CHUNK
  end
  source.found, source.length = found, #found / 2
  source.next = is_descending and source.length or 1
  return source.length > 0
end

local function step(source, is_descending)
  -- Puts the next member into source.id and source.at; false at the end
  if not source.next or source.next < 1 or source.next > source.length then
    if not fill(source, is_descending) then return false end
  end
  source.id, source.text = source.found[2 * source.next - 1], source.found[2 * source.next]
  source.at = tonumber(source.text)
  source.next = source.next + (is_descending and -1 or 1)
  return true
end

local function merge(keys, is_descending, at, id, number)
  -- Up to so many members of all keys as {key, id, at}, from a place on. A heap picks the next.
  local function before(a, b)
    if a.at ~= b.at then return (a.at < b.at) ~= is_descending end
    return a.id ~= b.id and (a.id < b.id) ~= is_descending
  end
  local heap, found = {}, {}
  local function sink(index)
    while true do
      local first, child = index, 2 * index
      if heap[child] and before(heap[child], heap[first]) then first = child end
      if heap[child + 1] and before(heap[child + 1], heap[first]) then first = child + 1 end
      if first == index then return end
      heap[index], heap[first] = heap[first], heap[index]
      index = first
    end
  end
  for _, key in ipairs(keys) do
    local source = {key = key}
    if at then
      source.rank = rank_after(key, at, id, is_descending)
    else
      source.rank = is_descending and call('ZCARD', key) - 1 or 0
    end
    if step(source, is_descending) then heap[#heap + 1] = source end
  end
  for index = math.floor(#heap / 2), 1, -1 do sink(index) end
  while heap[1] and #found < number do
    local source = heap[1]
    found[#found + 1] = {key = source.key, id = source.id, at = source.text}
    if not step(source, is_descending) then
      heap[1] = heap[#heap]
      heap[#heap] = nil
    end
    if heap[1] then sink(1) end
  end
  return found
end
