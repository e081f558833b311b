-- Changing the state of a job, with all that follows: unique keys, limits, continuations

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
  call('SADD', P .. 'parkings:' .. key, s[S.max_concurrent] .. ':' .. queue)
  call('LSET', job.key, 1, cmsgpack.pack(m))
  call('ZREM', ready, place)
end

local function give_slot(key)
  if call('HINCRBY', P .. 'slots', key, -1) <= 0 then call('HDEL', P .. 'slots', key) end
end

local function unpark(key)
  -- The first parked job of each queue is ready again, if its limit leaves a slot: whichever worker is free next finds
  -- one. Jobs of one key may have different limits, when the code was changed between; then the first of each limit.
  local running = tonumber(call('HGET', P .. 'slots', key) or 0)
  for _, parking in ipairs(call('SMEMBERS', P .. 'parkings:' .. key)) do
    local limit, queue = string.match(parking, '^(%d+):(.*)$')
    local parked = parked_key(queue, limit, key)
    local place = running < tonumber(limit) and call('ZRANGE', parked, 0, 0)[1]
    local job = place and load(string.sub(place, 17))
    if job then
      job.m[M.parked], job.m[M.reason] = false, false
      call('ZADD', line_key(job), -job.s[S.priority], place)
      call('LSET', job.key, 1, cmsgpack.pack(job.m))
      wake(queue)
    end
    if place then call('ZREM', parked, place) end
    if call('ZCARD', parked) == 0 then call('SREM', P .. 'parkings:' .. key, parking) end
  end
end

-- The move: the only place that changes a state

local function may_follow(before, after) return string.find(TRANSITIONS, before .. '' .. after, 1, true) end

local settle -- continuations, below: they move jobs too
local later -- while this is a list, ended parents are put into it instead of letting their children go on at once

local function move(job, state, now, reason, data, changes)
  local s, m = job.s, job.m
  local from, was_parked = m[M.state], m[M.parked]
  if not may_follow(from, state) then
    error('Job ' .. job.id .. ' cannot go from ' .. NAMES[from] .. ' to ' .. NAMES[state])
  end
  check_indexes(job, state)
  if from == PROCESSING then -- what has run is written even when memory is full, so it need not run again
    leave_indexes(job)
    count_state(job, -1)
  end
  if call('RPUSH', job.key, cmsgpack.pack({state, now, reason or false, data or false})) > FIRST_ENTRY + MAX_HISTORY then
    call('LSET', job.key, FIRST_ENTRY, TOMBSTONE)
    call('LREM', job.key, -1, TOMBSTONE)
  end
  if from ~= PROCESSING then
    leave_indexes(job)
    count_state(job, -1)
  end
  for field, value in pairs(changes) do m[field] = value end
  m[M.state], m[M.state_at], m[M.reason], m[M.parked] = state, now, reason or false, false
  job.packed = cmsgpack.pack(m)
  call('LSET', job.key, 1, job.packed)
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
  if state == SUCCEEDED or state == DELETED then
    -- One that was marked at an earlier end keeps that mark: its children go on as they would have gone on then
    local has_children = call('EXISTS', P .. 'children:' .. job.id) == 1
    if has_children and call('HSETNX', P .. 'ended', job.id, cmsgpack.pack({state, now})) == 1 and not job.is_child then
      if later then later[#later + 1] = job.id else settle(job.id, state, now, now) end
    end
  end
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
      move(child, SCHEDULED, now, reason, {q = s[S.queue], u = due}, {[M.due_at] = due, [M.first_due_at] = due})
    else
      -- those that go on in one step keep their order
      local changes = {[M.due_at] = false, [M.first_due_at] = now, [M.position] = now + settled / 1000000}
      move(child, ENQUEUED, now, reason, {q = s[S.queue]}, changes)
    end
    return
  end
  local reason = 'Job ' .. parent .. ' was deleted; this one awaited its success'
  if ended == SUCCEEDED then reason = 'Job ' .. parent .. ' succeeded; this one awaited its deletion' end
  if ended == REMOVED then reason = 'Job ' .. parent .. ' was removed before it succeeded' end
  move(child, DELETED, now, reason, false, {})
end

settle = function(parent, ended, ended_at, now)
  -- Moves children as far as this call may, and takes the parent's mark off when none is left
  local key, moved = P .. 'children:' .. parent, 0
  if settled < BATCH then
    for _, id in ipairs(call('ZRANGE', key, 0, BATCH - settled - 1)) do
      local child = load(id)
      settled, moved = settled + 1, moved + 1
      if child then go_on(child, parent, ended, ended_at, now) else call('ZREM', key, id) end
    end
  end
  if call('EXISTS', key) == 0 then call('HDEL', P .. 'ended', parent) end
  return moved
end
