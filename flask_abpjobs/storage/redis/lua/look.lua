-- ids ... Returns of each job that is there: id, elements 0 and 1, the newest history entry
local found = {}
for _, id in ipairs(ARGV) do
  local key = P .. 'job:' .. id
  local first, last = call('LRANGE', key, 0, 1), call('LINDEX', key, -1)
  if first[2] then found[#found + 1] = {id, first[1], first[2], last} end
end
return found
