-- What all verbs share. Above this stand the constants that scripts.py writes: the states' numbers (SCHEDULED ...),
-- NAMES, TRANSITIONS, BATCH and the other bounds. It also puts the places of fields in: S.queue stands for that of the
-- queue in element 0 of a job's list, M.state for that of the state in element 1.
--
-- A script that fails keeps what it has written. So every step checks first and writes last, and what it writes first
-- is refused when memory is full; once a script has written, the server lets it go on.

local P = KEYS[1]
local call = redis.call

local function clock()
  local time = call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end
