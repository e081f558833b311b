local now, moved = clock(), 0
for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'due', '-inf', now, 'LIMIT', 0, BATCH)) do
  local job = load(id)
  moved = moved + 1
  if job and job.m[M.state] == SCHEDULED then
    local changes = {[M.due_at] = false, [M.position] = job.m[M.due_at]}
    move(job, ENQUEUED, now, 'Due', {q = job.s[S.queue]}, changes)
  else
    call('ZREM', P .. 'due', id)
  end
end
return moved
