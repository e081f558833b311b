local found = {}
for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'recurring:due', '-inf', clock(), 'LIMIT', 0, BATCH)) do
  found[#found + 1] = call('HGET', P .. 'recurring', id)
end
return found
