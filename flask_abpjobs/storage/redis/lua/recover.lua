-- server, worker (empty: all), heartbeat that was seen (empty: whatever it is), reason
local server, worker, seen, why = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local now, recovered = clock(), 0
if seen then
  local heartbeat = call('ZSCORE', P .. 'heartbeats', server)
  if not heartbeat or math.abs(tonumber(heartbeat) - seen) >= 0.00001 then return false end
end
for _, job in ipairs(held_by(server)) do
  local s, m = job.s, job.m
  if worker == '' or m[M.worker] == worker then
    local crashes = m[M.crashes] + 1
    local data = {s = server, w = m[M.worker], a = m[M.attempt], r = true}
    local changes = {[M.server_id] = false, [M.worker] = false, [M.crashes] = crashes}
    recovered = recovered + 1
    if crashes < MAX_CRASHES - 1 then
      data.q = s[S.queue]
      move(job, ENQUEUED, now, why .. '; the job goes back', data, changes)
    elseif crashes < MAX_CRASHES then
      -- In turn, also over calls: of worker processes that die together each is recovered by a call of its own
      data.u = now + SUSPECT_DELAYS[call('INCR', P .. 'suspects') % #SUSPECT_DELAYS + 1]
      changes[M.due_at] = data.u
      move(job, SCHEDULED, now, why .. '; the job has a last chance, apart from its neighbours', data, changes)
    else
      data.e = 'WorkerDied'
      data.m = "The job's worker died " .. crashes .. ' times in a row while running it. ' .. why .. '.'
      changes = {[M.error_type] = data.e, [M.error_message] = data.m, [M.crashes] = crashes}
      move(job, FAILED, now, 'Killed its worker ' .. crashes .. ' times', data, changes)
    end
    count(job, 'recovered', 1)
  end
end
if seen then
  call('ZREM', P .. 'heartbeats', server)
  call('HDEL', P .. 'servers', server)
end
return recovered
