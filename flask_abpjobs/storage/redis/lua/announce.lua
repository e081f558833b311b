-- id, server
call('ZCARD', P .. 'heartbeats')
call('HSET', P .. 'servers', ARGV[1], ARGV[2])
call('ZADD', P .. 'heartbeats', clock(), ARGV[1])
return 1
