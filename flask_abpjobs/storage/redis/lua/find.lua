-- One look for a page: wanted states (packed), tenant scope, direction, place (time, id; both may be empty), the most
-- jobs to return, the most to look at, then conditions (packed): queue, name, server, failures ("some", "none").
-- Returns where it stopped looking (empty: at the end), and the jobs that fit.
local states, scope, is_descending = cmsgpack.unpack(ARGV[1]), ARGV[2], ARGV[3] == 'descending'
local at, id = ARGV[4] ~= '' and ARGV[4] or nil, ARGV[5]
local most, looks = tonumber(ARGV[6]), tonumber(ARGV[7])
local queue, name, server, failures = unpack(cmsgpack.unpack(ARGV[8]), 1, 4)
local tenant = string.sub(scope, 1, 1) == '=' and string.sub(scope, 2)

local sources = {}
local kinds = call('SMEMBERS', P .. 'kinds')
for _, state in ipairs(states) do
  if state == PROCESSING then
    for _, each in ipairs(server and {server} or call('HKEYS', P .. 'servers')) do
      sources[#sources + 1] = P .. 'held:' .. each
    end
  elseif tenant then
    sources[#sources + 1] = tenant_key(state, tenant)
  elseif state == SCHEDULED and failures == 'some' then
    sources[#sources + 1] = P .. 'retrying'
  else
    for _, kind in ipairs(kinds) do
      local parsed = parse_kind(kind)
      if (not queue or queue == parsed.queue) and (not name or name == parsed.name)
        and not (scope == '-' and parsed.has_tenant) then
        sources[#sources + 1] = list_key(state, kind)
      end
    end
  end
end

local function fits(job)
  local s, m = job.s, job.m
  return in_scope(job, scope) and (not queue or s[S.queue] == queue) and (not name or s[S.name] == name)
    and (not server or m[M.server_id] == server)
    and (not failures or (m[M.failures] > 0) == (failures == 'some'))
end

local seen = merge(sources, is_descending, at, id, looks)
local found = {''}
for _, each in ipairs(seen) do
  local job = load(each.id)
  if job and fits(job) then
    found[#found + 1] = elements(job)
    if #found > most then return found end
  end
end
local last = seen[#seen]
if #seen == looks then found[1] = {last.at, last.id} end
return found
