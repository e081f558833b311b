-- id, fence, progress (empty: unchanged), log lines ...
local job = held(ARGV[1], ARGV[2])
if not job then return 'lost' end
if ARGV[3] ~= '' then
  job.m[M.progress] = ARGV[3]
  call('LSET', job.key, 1, cmsgpack.pack(job.m))
end
keep_lines(job, 4, #ARGV - 3)
return 'done'
