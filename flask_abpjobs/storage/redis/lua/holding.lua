-- Ends of jobs that a worker holds

local function held(id, fence)
  local job = load(id)
  if job and job.m[M.state] == PROCESSING and job.m[M.fence] == tonumber(fence) then return job end
  call('HINCRBY', P .. 'counts', 'refused', 1)
  return nil
end

local function take_back(job, now, reason)
  local m = job.m
  local data = {q = job.s[S.queue], s = m[M.server_id], w = m[M.worker]}
  local attempt = math.max(0, m[M.attempt] - 1)
  move(job, ENQUEUED, now, reason, data, {[M.server_id] = false, [M.worker] = false, [M.attempt] = attempt})
end

local function keep_lines(job, first, number)
  if number == 0 then return end
  local key = P .. 'log:' .. job.id
  for index = first, first + number - 1 do call('RPUSH', key, ARGV[index]) end
  if call('LLEN', key) > MAX_LOG_LINES then call('LTRIM', key, -MAX_LOG_LINES, -1) end
end
