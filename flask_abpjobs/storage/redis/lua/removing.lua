-- Removing

local function remove(job, now)
  -- Removes a job once no other awaits it. Returns how many jobs were moved or removed.
  local mark = call('HGET', P .. 'ended', job.id)
  local ended = mark and cmsgpack.unpack(mark) or {REMOVED, now}
  local moved = settle(job.id, ended[1], ended[2], now)
  if call('EXISTS', P .. 'children:' .. job.id) == 1 then return moved end -- the next call goes on
  local state, key, was_parked = job.m[M.state], job.s[S.concurrency_key], job.m[M.parked]
  leave_indexes(job)
  call('UNLINK', job.key, P .. 'log:' .. job.id)
  count_state(job, -1)
  count(job, 'expired', 1)
  local unique = job.s[S.unique_key] and P .. 'unique:' .. job.s[S.unique_key]
  if unique and call('GET', unique) == job.id and call('PTTL', unique) == -1 then call('UNLINK', unique) end
  local kind, is_used = kind_of(job), false
  for each = 1, #NAMES do is_used = is_used or call('EXISTS', list_key(each, kind)) == 1 end
  if not is_used then call('SREM', P .. 'kinds', kind) end
  if key and state == PROCESSING then give_slot(key) end
  if key and (state == PROCESSING or (state == ENQUEUED and not was_parked)) then unpark(key) end
  return moved + 1
end
