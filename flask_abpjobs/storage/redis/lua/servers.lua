local found = {}
local kept = call('HGETALL', P .. 'servers')
for index = 1, #kept, 2 do
  local id = kept[index]
  found[#found + 1] = {id, kept[index + 1], call('ZSCORE', P .. 'heartbeats', id), call('ZCARD', P .. 'held:' .. id)}
end
return {found, call('SMEMBERS', P .. 'paused')}
