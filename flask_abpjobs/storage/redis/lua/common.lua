-- What all verbs share. Above this stand the constants that scripts.py writes: the states' numbers (SCHEDULED ...),
-- NAMES, TRANSITIONS, the places of fields (S of element 0, M of element 1), BATCH and the other bounds.
--
-- A script that fails keeps what it has written. So every step checks first and writes last, and what it writes first
-- is refused when memory is full; once a script has written, the server lets it go on.

local P = KEYS[1]
local call = redis.call

local function clock()
  local time = call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function load(id)
  local key = P .. 'job:' .. id
  local found = call('LRANGE', key, 0, 1)
  if not found[2] then return nil end
  return {id = id, key = key, s = cmsgpack.unpack(found[1]), m = cmsgpack.unpack(found[2])}
end

local function elements(job)
  return {'job', job.id, unpack(call('LRANGE', job.key, 0, FIRST_ENTRY - 1))}
end

-- Keys of the indexes a job is in

local function kind_of(job)
  -- Jobs of one queue and one name share a list for each state; those with a tenant, and those with a retention of
  -- their own, are lists apart.
  if not job.kind then
    local s = job.s
    local flags = (s[S.tenant_id] and 1 or 0) + (s[S.retention] and 2 or 0)
    job.kind = flags .. ':' .. #s[S.queue] .. ':' .. s[S.queue] .. ':' .. s[S.name]
  end
  return job.kind
end

local function parse_kind(kind)
  local flags, length, rest = string.match(kind, '^(%d):(%d+):(.*)$')
  flags, length = tonumber(flags), tonumber(length)
  return {
    has_tenant = flags % 2 == 1,
    has_retention = flags >= 2,
    queue = string.sub(rest, 1, length),
    name = string.sub(rest, length + 2),
  }
end

local function list_key(state, kind) return P .. 'by:' .. NAMES[state] .. ':' .. kind end

local function tenant_key(state, tenant) return P .. 'tenant:' .. NAMES[state] .. ':' .. tenant end

local function parked_key(queue, key) return P .. 'parked:' .. #queue .. ':' .. queue .. ':' .. key end

local function line_key(job)
  if job.m[M.parked] then return parked_key(job.s[S.queue], job.s[S.concurrency_key]) end
  return P .. 'ready:' .. job.s[S.queue]
end

local function place_of(job) return string.format('%016d', math.floor(job.m[M.position] * 1000000 + 0.5)) .. job.id end

local function own_expiry(job)
  -- nil: the storage's retention decides, or the job is kept for ever
  local retention, state = job.s[S.retention], job.m[M.state]
  if not retention then return nil end
  local seconds
  if state == SUCCEEDED then seconds = retention[1] end
  if state == DELETED then seconds = retention[2] end
  if state == FAILED then seconds = retention[3] end
  return seconds and job.m[M.state_at] + seconds
end

-- Counters

local function count(job, what, number)
  local tenant = job.s[S.tenant_id]
  if tenant then
    call('HINCRBY', P .. 'counts:of:' .. tenant, what, number)
    call('HINCRBY', P .. 'counts:tenants', what, number)
  else
    call('HINCRBY', P .. 'counts', what, number)
  end
end

local function count_state(job, number)
  local m = job.m
  if m[M.state] == ENQUEUED then
    count(job, 'q:' .. job.s[S.queue], number)
  else
    count(job, NAMES[m[M.state]], number)
    if m[M.state] == SCHEDULED and m[M.failures] > 0 then count(job, 'retrying', number) end
  end
end

-- Waking: a token in the list of a queue wakes one idle process

local function wake(queue, number)
  local key = P .. 'wake:' .. queue
  local room = math.min(number or 1, MAX_TOKENS - call('LLEN', key))
  if room > 0 and call('SISMEMBER', P .. 'paused', queue) == 0 then
    for _ = 1, room do call('RPUSH', key, '1') end
  end
end

-- Indexes: a job is in those of its state. Both steps read the state from the job's mutable part.

local function check_indexes(job, state)
  -- Raises WRONGTYPE before anything is written, if another program used one of our keys
  local queue = job.s[S.queue]
  call('HLEN', P .. 'counts')
  call('SCARD', P .. 'kinds')
  call('ZCARD', P .. 'ready:' .. queue)
  call('LLEN', P .. 'wake:' .. queue)
  call('ZCARD', state == PROCESSING and P .. 'heartbeats' or list_key(state, kind_of(job)))
  if state == SCHEDULED then call('ZCARD', P .. 'due') end
end

local function leave_indexes(job)
  local s, m, id = job.s, job.m, job.id
  local state = m[M.state]
  if state == PROCESSING then
    call('ZREM', P .. 'held:' .. m[M.server_id], id)
    return
  end
  call('ZREM', list_key(state, kind_of(job)), id)
  if s[S.tenant_id] then call('ZREM', tenant_key(state, s[S.tenant_id]), id) end
  if state == ENQUEUED then
    call('ZREM', line_key(job), place_of(job))
  elseif state == SCHEDULED then
    call('ZREM', P .. 'due', id)
    if m[M.failures] > 0 then call('ZREM', P .. 'retrying', id) end
  elseif state == AWAITING then
    if s[S.parent_id] then call('ZREM', P .. 'children:' .. s[S.parent_id], id) end
  elseif s[S.retention] then
    call('ZREM', P .. 'expiring', id)
  end
end

local function enter_indexes(job)
  local s, m, id = job.s, job.m, job.id
  local state, at = m[M.state], m[M.state_at]
  if state == PROCESSING then
    call('ZADD', P .. 'held:' .. m[M.server_id], at, id)
    return
  end
  if state == ENQUEUED then
    call('ZADD', line_key(job), -s[S.priority], place_of(job))
  elseif state == SCHEDULED then
    call('ZADD', P .. 'due', m[M.due_at], id)
    if m[M.failures] > 0 then call('ZADD', P .. 'retrying', at, id) end
  elseif state == AWAITING then
    if s[S.parent_id] then call('ZADD', P .. 'children:' .. s[S.parent_id], s[S.created_at], id) end
  else
    local expiry = own_expiry(job)
    if expiry then call('ZADD', P .. 'expiring', expiry, id) end
  end
  local kind = kind_of(job)
  call('SADD', P .. 'kinds', kind)
  call('ZADD', list_key(state, kind), at, id)
  if s[S.tenant_id] then call('ZADD', tenant_key(state, s[S.tenant_id]), at, id) end
end

-- Unique keys

local function free_unique(job, now)
  local unique = job.s[S.unique_key]
  if not unique then return end
  local key = P .. 'unique:' .. unique
  if call('GET', key) ~= job.id then return end
  local stays_until = job.s[S.unique_for] and job.s[S.created_at] + job.s[S.unique_for]
  if stays_until and stays_until > now then
    call('PEXPIREAT', key, string.format('%.0f', stays_until * 1000))
  else
    call('UNLINK', key)
  end
end

local function take_unique(job)
  local unique = job.s[S.unique_key]
  if not unique then return end
  local key = P .. 'unique:' .. unique
  local holder = call('GET', key)
  if not holder or holder == job.id then call('SET', key, job.id) end
end

-- Limits: of the jobs with one concurrency key, so many run at once; others are parked

local function park(job, running)
  local s, m = job.s, job.m
  local queue, key = s[S.queue], s[S.concurrency_key]
  local place, ready = place_of(job), line_key(job)
  m[M.parked] = true
  m[M.reason] = 'Waits: ' .. running .. ' of ' .. s[S.max_concurrent] .. ' jobs of ' .. key .. ' are running'
  call('ZADD', line_key(job), -s[S.priority], place)
  call('SADD', P .. 'parkings:' .. key, queue)
  call('LSET', job.key, 1, cmsgpack.pack(m))
  call('ZREM', ready, place)
end

local function give_slot(key)
  if call('HINCRBY', P .. 'slots', key, -1) <= 0 then call('HDEL', P .. 'slots', key) end
end

local function unpark(key)
  -- The first parked job of each queue is looked at again: one of them will find the free slot
  for _, queue in ipairs(call('SMEMBERS', P .. 'parkings:' .. key)) do
    local parked = parked_key(queue, key)
    local place = call('ZRANGE', parked, 0, 0)[1]
    local job = place and load(string.sub(place, 17))
    if job then
      job.m[M.parked], job.m[M.reason] = false, false
      call('ZADD', line_key(job), -job.s[S.priority], place)
      call('LSET', job.key, 1, cmsgpack.pack(job.m))
      wake(queue)
    end
    if place then call('ZREM', parked, place) end
    if call('ZCARD', parked) == 0 then call('SREM', P .. 'parkings:' .. key, queue) end
  end
end

-- The move: the only place that changes a state

local settle -- continuations, below: they move jobs too

local function move(job, state, now, reason, data, changes)
  local s, m = job.s, job.m
  local from, was_parked = m[M.state], m[M.parked]
  if not TRANSITIONS[from][state] then
    error('Job ' .. job.id .. ' cannot go from ' .. NAMES[from] .. ' to ' .. NAMES[state])
  end
  check_indexes(job, state)
  if from == PROCESSING then -- what has run is written even when memory is full, so it need not run again
    leave_indexes(job)
    count_state(job, -1)
  end
  call('RPUSH', job.key, cmsgpack.pack({state, now, reason or false, data or false}))
  if call('LLEN', job.key) > FIRST_ENTRY + MAX_HISTORY then
    call('LSET', job.key, FIRST_ENTRY, TOMBSTONE)
    call('LREM', job.key, -1, TOMBSTONE)
  end
  if from ~= PROCESSING then
    leave_indexes(job)
    count_state(job, -1)
  end
  for field, value in pairs(changes) do m[field] = value end
  m[M.state], m[M.state_at], m[M.reason], m[M.parked] = state, now, reason or false, false
  call('LSET', job.key, 1, cmsgpack.pack(m))
  enter_indexes(job)
  count_state(job, 1)
  if state == ENQUEUED then wake(s[S.queue]) end

  local key = s[S.concurrency_key]
  if key then
    if state == PROCESSING then call('HINCRBY', P .. 'slots', key, 1) end
    if from == PROCESSING then give_slot(key) end
    if from == PROCESSING or (from == ENQUEUED and not was_parked and state ~= PROCESSING) then unpark(key) end
  end
  if state == SUCCEEDED or state == FAILED or state == DELETED then free_unique(job, now) end
  if state == SUCCEEDED or state == DELETED then settle(job.id, state, now, now, job.is_child) end
end

-- Continuations

local REMOVED = 0 -- stands for the state of a parent that was pruned
local settled = 0 -- children moved by this call

local function go_on(child, parent, ended, ended_at, now)
  local s, m = child.s, child.m
  local on = s[S.parent_on] or 'succeeded'
  child.is_child = true
  if ended ~= REMOVED and (on == 'finished' or on == NAMES[ended]) then
    local reason = 'Job ' .. parent .. (ended == SUCCEEDED and ' succeeded' or ' was deleted')
    local due = s[S.delay] and ended_at + s[S.delay] or m[M.due_at]
    if due and due > now then
      move(child, SCHEDULED, now, reason, {q = s[S.queue], u = due}, {[M.due_at] = due})
    else
      move(child, ENQUEUED, now, reason, {q = s[S.queue]}, {[M.due_at] = false, [M.position] = now})
    end
    return
  end
  local reason = 'Job ' .. parent .. ' was deleted; this one awaited its success'
  if ended == SUCCEEDED then reason = 'Job ' .. parent .. ' succeeded; this one awaited its deletion' end
  if ended == REMOVED then reason = 'Job ' .. parent .. ' was removed before it succeeded' end
  move(child, DELETED, now, reason, false, {[M.due_at] = false})
end

settle = function(parent, ended, ended_at, now, is_later)
  local key = P .. 'children:' .. parent
  local waiting = call('ZCARD', key)
  if waiting == 0 then return 0 end
  local moved = 0
  local room = is_later and 0 or BATCH - settled
  if room > 0 then
    for _, id in ipairs(call('ZRANGE', key, 0, room - 1)) do
      local child = load(id)
      settled, moved, waiting = settled + 1, moved + 1, waiting - 1
      if child then go_on(child, parent, ended, ended_at, now) else call('ZREM', key, id) end
    end
  end
  if waiting > 0 then
    call('HSET', P .. 'ended', parent, cmsgpack.pack({ended, ended_at}))
  else
    call('HDEL', P .. 'ended', parent)
  end
  return moved
end

-- Adding. A new job is seven arguments: id, elements 0 to 4, first entry of the history.

local function read_records(first, number)
  local records = {}
  for index = 1, number do
    local at = first + (index - 1) * 7
    local job = {id = ARGV[at], key = P .. 'job:' .. ARGV[at], first = at}
    job.s, job.m = cmsgpack.unpack(ARGV[at + 1]), cmsgpack.unpack(ARGV[at + 2])
    records[index] = job
  end
  return records
end

local function kept_instead(job)
  -- The id of the job that stands in the way of a new one
  if call('EXISTS', job.key) == 1 then return job.id end
  return job.s[S.unique_key] and call('GET', P .. 'unique:' .. job.s[S.unique_key])
end

local function check_records(records)
  -- Returns the id of a parent that does not exist, before anything is written
  local coming = {}
  for _, job in ipairs(records) do
    if not kept_instead(job) then
      local parent = job.s[S.parent_id]
      if parent and job.m[M.state] == AWAITING and not coming[parent] and call('EXISTS', P .. 'job:' .. parent) == 0 then
        return parent
      end
      check_indexes(job, job.m[M.state])
      coming[job.id] = true
    end
  end
end

local function insert(job, now)
  -- Returns the id of the job that is kept, and whether it is the new one
  local kept = kept_instead(job)
  if kept then return kept, 0 end
  local first = job.first
  call('RPUSH', job.key, unpack(ARGV, first + 1, first + 6))
  take_unique(job)
  enter_indexes(job)
  count(job, 'created', 1)
  count_state(job, 1)
  if job.m[M.state] == ENQUEUED then wake(job.s[S.queue]) end
  if job.m[M.state] == AWAITING and job.s[S.parent_id] then
    local parent = load(job.s[S.parent_id])
    local ended = parent.m[M.state]
    if ended == SUCCEEDED or ended == DELETED then go_on(job, parent.id, ended, parent.m[M.state_at], now) end
  end
  return job.id, 1
end

-- Removing

local function remove(job, now)
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
  settle(job.id, REMOVED, now, now)
end

-- Ends of jobs that a worker holds

local function held(id, fence)
  local job = load(id)
  if job and job.m[M.state] == PROCESSING and job.m[M.fence] == tonumber(fence) then return job end
  call('HINCRBY', P .. 'counts', 'refused', 1)
  return nil
end

local function held_by(server)
  local jobs = {}
  for _, id in ipairs(call('ZRANGE', P .. 'held:' .. server, 0, -1)) do
    jobs[#jobs + 1] = load(id)
  end
  return jobs
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

-- Scopes: "*" all jobs, "-" those of no tenant, "=" and a tenant's id

local function in_scope(job, scope)
  local tenant = job.s[S.tenant_id]
  if scope == '*' then return true end
  if scope == '-' then return not tenant end
  return tenant == string.sub(scope, 2)
end
