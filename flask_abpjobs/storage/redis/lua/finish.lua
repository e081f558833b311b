-- number of the call, whether it comes again (empty: no), id, fence, what to write (packed), payload, result, then log
-- lines, children, keys and values to put, keys to remove
local now, number, is_again = clock(), ARGV[1], ARGV[2] ~= ''
local told = cmsgpack.unpack(ARGV[5])
local state, reason, duration, due_at, progress, failure, has_payload, is_begun, numbers, claiming =
  unpack(told, 1, 10)
local lines, children, puts, removals = unpack(numbers, 1, 4)

local function next_job()
  return claiming and claim(claiming[1], claiming[2], {unpack(claiming, 3)}, now, number, is_again)
end

if is_again then
  local done = load(ARGV[3])
  if done and done.m[M.state] ~= PROCESSING and done.m[M.call] == number then return next_job() end
end
local job = held(ARGV[3], ARGV[4])
if not job then return 'lost' end
local at = 8
local records = read_records(at + lines, children)
local waits = state == SCHEDULED or state == ENQUEUED

-- Check
local missing = check_records(records)
if missing then return {'missing', missing} end
if puts + removals > 0 then call('HLEN', P .. 'kv') end

-- Write
local s, m = job.s, job.m
local data = {a = m[M.attempt], s = m[M.server_id], w = m[M.worker], d = duration or nil, l = m[M.latency] or nil}
local changes = {[M.duration] = duration, [M.due_at] = due_at, [M.crashes] = 0, [M.call] = number}
data.u = due_at or nil
if failure then
  data.e, data.m, data.t = failure[1], failure[2], failure[3]
  changes[M.error_type], changes[M.error_message] = failure[1], failure[2]
  if waits then changes[M.failures] = m[M.failures] + 1 end
elseif state == SUCCEEDED then
  changes[M.error_type], changes[M.error_message] = false, false
end
if not is_begun then changes[M.attempt] = math.max(0, m[M.attempt] - 1) end
if progress then changes[M.progress] = progress end
if waits then
  changes[M.server_id], changes[M.worker], changes[M.position] = false, false, now
  data.q = s[S.queue]
end
later = {} -- children that were there go on after those that come with this end are added
move(job, state, now, reason, data, changes)
if has_payload then call('LSET', job.key, 3, ARGV[6]) end
if not failure and state == SUCCEEDED and (ARGV[7] ~= '' or m[M.fence] > 1) then call('LSET', job.key, 4, ARGV[7]) end
keep_lines(job, at, lines)
for _, record in ipairs(records) do insert(record, now) end
local ended = later
later = nil
for _, id in ipairs(ended) do settle(id, state, now, now) end
at = at + lines + children * 7
for index = at, at + 2 * puts - 1, 2 do call('HSET', P .. 'kv', ARGV[index], ARGV[index + 1]) end
at = at + 2 * puts
for index = at, at + removals - 1 do call('HDEL', P .. 'kv', ARGV[index]) end
return next_job()
