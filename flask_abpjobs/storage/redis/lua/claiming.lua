-- Claiming, for the verbs that claim

local function utc(seconds)
  -- Days to a date by the Gregorian calendar's 400-year cycle, counted from March
  local days = math.floor(seconds / 86400)
  local rest = math.floor(seconds - days * 86400)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  local hour, minute = math.floor(rest / 3600), math.floor(rest / 60) % 60
  return string.format('%04d-%02d-%02d %02d:%02d:%02d UTC', year, month, day, hour, minute, rest % 60)
end

local function first_ready(server, worker, queues, now, number)
  if not call('ZSCORE', P .. 'heartbeats', server) then return false end
  local aside = 0
  for _, queue in ipairs(queues) do
    local ready = P .. 'ready:' .. queue
    while call('SISMEMBER', P .. 'paused', queue) == 0 do
      local place = call('ZRANGE', ready, 0, 0)[1]
      if not place then
        call('UNLINK', P .. 'wake:' .. queue) -- nothing is ready, so a token would wake for nothing
        break
      end
      if aside > BATCH then
        wake(queue)
        return false
      end
      local job = load(string.sub(place, 17), FIRST_ENTRY - 1)
      local s, m = job and job.s, job and job.m
      if job then job.place = place end
      local key = s and s[S.concurrency_key]
      local running = key and tonumber(call('HGET', P .. 'slots', key) or 0)
      aside = aside + 1
      if not job or m[M.state] ~= ENQUEUED then
        call('ZREM', ready, place) -- a place without a job; check() tells of it, workers go on
      elseif m[M.begin_before] and m[M.begin_before] <= now then
        local reason = 'Expired: no worker began it by ' .. utc(m[M.begin_before])
        move(job, DELETED, now, reason, false, {})
      elseif key and running >= s[S.max_concurrent] then
        park(job, running)
      else
        local attempt, latency = m[M.attempt] + 1, math.max(0, now - m[M.state_at])
        move(job, PROCESSING, now, nil, {a = attempt, s = server, w = worker, l = latency}, {
          [M.attempt] = attempt,
          [M.fence] = m[M.fence] + 1,
          [M.server_id] = server,
          [M.worker] = worker,
          [M.started_at] = now,
          [M.latency] = latency,
          [M.progress] = false,
          [M.call] = number,
        })
        local found = job.found
        return {'job', job.id, found[1], job.packed, found[3], found[4], found[5]}
      end
    end
  end
  return false
end

local function claim(server, worker, queues, now, number, is_again)
  -- Returns the job's elements, or false. A call that comes again, since its answer was lost, is given the job that it
  -- has claimed already. What awaited a job that is set aside for ever goes on after that.
  if is_again then
    for _, job in ipairs(held_by(server)) do
      if job.m[M.call] == number then return elements(job) end
    end
  end
  later = {}
  local claimed = first_ready(server, worker, queues, now, number)
  local ended = later
  later = nil
  for _, id in ipairs(ended) do settle(id, DELETED, now, now) end
  return claimed
end
