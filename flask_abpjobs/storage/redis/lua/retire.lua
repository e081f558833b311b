-- id
local now = clock()
local jobs = held_by(ARGV[1])
for _, job in ipairs(jobs) do take_back(job, now, 'The server stopped before the job ended') end
call('ZREM', P .. 'heartbeats', ARGV[1])
call('HDEL', P .. 'servers', ARGV[1])
return #jobs
