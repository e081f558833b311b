local now, moved, cursor, marks = clock(), 0, '0', {}
repeat
  local found = call('HSCAN', P .. 'ended', cursor)
  cursor = found[1]
  for _, each in ipairs(found[2]) do marks[#marks + 1] = each end
until cursor == '0' or #marks >= 2 * BATCH
for index = 1, #marks, 2 do
  local ended = cmsgpack.unpack(marks[index + 1])
  moved = moved + settle(marks[index], ended[1], ended[2], now)
end
return moved
