-- id. Removing first lets the step through when memory is full: a server must not be taken for dead then.
if call('ZREM', P .. 'heartbeats', ARGV[1]) == 0 then return 0 end
call('ZADD', P .. 'heartbeats', clock(), ARGV[1])
return 1
