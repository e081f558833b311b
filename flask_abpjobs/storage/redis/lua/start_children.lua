local now, moved, cursor = clock(), 0, '0'
repeat
  local found = call('HSCAN', P .. 'ended', cursor)
  cursor = found[1]
  for index = 1, #found[2], 2 do
    if moved < BATCH then
      local ended = cmsgpack.unpack(found[2][index + 1])
      local more = settle(found[2][index], ended[1], ended[2], now)
      if more == 0 then call('HDEL', P .. 'ended', found[2][index]) end
      moved = moved + more
    end
  end
until cursor == '0' or moved >= BATCH
return moved
