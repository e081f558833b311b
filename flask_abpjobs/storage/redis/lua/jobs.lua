-- Jobs, and the keys, counters and indexes they are in

local function load(id, last)
  -- With the elements up to the last, 1 when left out
  local key = P .. 'job:' .. id
  local found = call('LRANGE', key, 0, last or 1)
  if not found[2] then return nil end
  return {id = id, key = key, found = found, s = cmsgpack.unpack(found[1]), m = cmsgpack.unpack(found[2])}
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

local function parked_key(queue, limit, key)
  return P .. 'parked:' .. #queue .. ':' .. queue .. ':' .. limit .. ':' .. key
end

local function line_key(job)
  local s = job.s
  if job.m[M.parked] then return parked_key(s[S.queue], s[S.max_concurrent], s[S.concurrency_key]) end
  return P .. 'ready:' .. s[S.queue]
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

local checked -- the queue whose keys this call has looked at

local function check_indexes(job, state)
  -- Raises WRONGTYPE before anything is written, if another program used one of our keys
  local queue = job.s[S.queue]
  if queue ~= checked then
    call('HLEN', P .. 'counts')
    call('SCARD', P .. 'kinds')
    call('ZCARD', P .. 'ready:' .. queue)
    call('LLEN', P .. 'wake:' .. queue)
    checked = queue
  end
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
    call('ZREM', line_key(job), job.place or place_of(job))
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

local function held_by(server)
  local jobs = {}
  for _, id in ipairs(call('ZRANGE', P .. 'held:' .. server, 0, -1)) do
    jobs[#jobs + 1] = load(id)
  end
  return jobs
end

-- Scopes: "*" all jobs, "-" those of no tenant, "=" and a tenant's id

local function in_scope(job, scope)
  local tenant = job.s[S.tenant_id]
  if scope == '*' then return true end
  if scope == '-' then return not tenant end
  return tenant == string.sub(scope, 2)
end
