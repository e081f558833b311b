-- A person's action. id, "requeue" or "delete", expected states (packed), tenant scope, reason, by (may be empty)
local job = load(ARGV[1])
if not job or not in_scope(job, ARGV[4]) then return {'missing'} end
local s, m, now = job.s, job.m, clock()
local is_expected = false
for _, state in ipairs(cmsgpack.unpack(ARGV[3])) do is_expected = is_expected or state == m[M.state] end
local wanted = ARGV[2] == 'delete' and DELETED or ENQUEUED
if not is_expected or not TRANSITIONS[m[M.state]][wanted] then return {'changed', NAMES[m[M.state]]} end
local by = ARGV[6] ~= '' and ARGV[6] or nil
if ARGV[2] == 'delete' then
  move(job, DELETED, now, ARGV[5], by and {b = by}, {[M.due_at] = false})
else
  move(job, ENQUEUED, now, ARGV[5], {q = s[S.queue], b = by}, {
    [M.due_at] = false,
    [M.progress] = false,
    [M.server_id] = false,
    [M.worker] = false,
    [M.failures] = 0,
    [M.crashes] = 0,
    [M.position] = now,
    [M.begin_before] = false,
  })
  call('LSET', job.key, 4, '')
  take_unique(job)
end
return elements(job)
