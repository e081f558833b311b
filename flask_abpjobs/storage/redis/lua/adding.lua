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
