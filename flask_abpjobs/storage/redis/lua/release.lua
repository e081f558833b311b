-- id, fence, reason
local job = held(ARGV[1], ARGV[2])
if not job then return 'lost' end
take_back(job, clock(), ARGV[3])
return 'done'
